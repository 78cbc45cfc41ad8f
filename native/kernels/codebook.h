// Checks and layout of codebooks, for every kernel that looks up. The checks keep the
// kernels' integers from overflowing (docs/kernel-derivations.md).
#pragma once

#include <cstdint>

namespace subbyte {

// Codes of one sum, at most, filled up to whole vectors. |sum| is at most 255 * 64 a code with
// gain, 128 without, plus as much in its start value: this keeps both, and every step between,
// within int32.
constexpr int64_t kMostCodes = 1 << 16;

// These return SUBBYTE_OK, or an error with last_error() set.
int check_code_count(int64_t taps, int64_t codes);  // of one sum
// Every code is below `levels`; gains are within +-64; of each word, the positive and the
// negative entries sum to at most 126.
int check_codes(const char *what, const uint8_t *codes, int64_t count, int levels);
int check_gains(const int8_t *gains, int levels);
int check_words(const int8_t *codebook, int64_t words, int word_length);

// What rounds the products of channel group `g` in the shift of their entries. Ties go up in even
// groups and down in odd ones, so that the errors of the groups that are added average out.
constexpr int rounding_half(int shift, int64_t g) {
  return shift == 0 ? 0 : (1 << (shift - 1)) - static_cast<int>(g % 2);
}

// The codebook of `groups` groups as the build stage reads it.
struct Codebook {
  static constexpr int kUnit = 16;  // words side by side

  int64_t channels, groups;
  int words, word_length, chunk, chunks;  // chunks of `chunk` bytes a word
  bool shared;
  int input_zero, shift;
  // packed: [groups][words / kUnit][chunks][kUnit][chunk], zeros behind a word's end and behind
  // the last channel; start: [groups][words],
  // rounding_half - input_zero * sum(word).
  void pack(const int8_t *codebook, int8_t *packed, int16_t *start) const;
};

}  // namespace subbyte
