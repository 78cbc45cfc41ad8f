// Checks and layout of codebooks, for every kernel that looks up.
#pragma once

#include <cstdint>

#include "conv_lut16/level.h"

namespace subbyte::conv_lut16 {

// These return SUBBYTE_OK, or an error with last_error() set. Every code is below `levels`;
// gains are within +-64; of each word, the positive and the negative entries sum to at most 126.
int check_codes(const char *what, const uint8_t *codes, int64_t count, int levels);
int check_gains(const int8_t *gains, int levels);
int check_words(const int8_t *codebook, int64_t words, int word_length);

// The codebook of `groups` groups as the build stage reads it.
struct Codebook {
  int64_t channels, groups;
  int word_length, chunk, chunks;  // chunks of `chunk` bytes a word
  bool shared;
  int input_zero, shift;
  // words: [groups][chunks][kWords][chunk], zeros behind a word's end and behind the last
  // channel; start: [groups][kWords], half - input_zero * sum(word).
  void pack(const int8_t *codebook, int8_t *words, int16_t *start) const;
};

}  // namespace subbyte::conv_lut16
