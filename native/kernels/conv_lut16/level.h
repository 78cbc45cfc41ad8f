// What one level (instruction set) of the look-up kernels provides: its layouts and stages.
#pragma once

#include <cstddef>
#include <cstdint>

#include "isa/sets.h"

namespace subbyte::conv_lut16 {

constexpr int kWords = 16;
constexpr int kLanes = 16;         // outputs side by side in the layout of codes
constexpr int kVectorGroups = 4;   // codes of one output side by side
constexpr int kVectorBytes = kLanes * kVectorGroups;
constexpr int kMaxPixels = 8;      // of one tile
constexpr int kMaxBlocks = 4;      // of kLanes outputs, of one tile

// Stage 1: tables [pixel][vector][kVectorBytes] of `count` pixels; entry of word c:
// clamp((start[c] + sum over i of word[c][i] * x[i]) >> shift, -128, 127) ^ flip.
struct TableJob {
  const uint8_t *x;
  ptrdiff_t x_stride;        // bytes from pixel to pixel
  int64_t count;
  const int8_t *codebook;    // [group][chunks][kWords][Layout::chunk]
  const int16_t *start;      // [group][kWords]: rounding_half - input_zero * sum(word)
  int64_t vectors;           // of kVectorGroups groups
  int word_length, chunks, shift;
  uint8_t flip;              // 0x80: entries are stored as entry + 128, unsigned
  uint8_t *tables;           // aligned to kVectorBytes
  ptrdiff_t table_stride;
};

// What multiplies an entry. Small: gains are stored over their greatest common divisor,
// Tile::gain_unit, and are then at most Level::small_gain.
enum Gain { kNoGain, kAnyGain, kSmallGain };

// Stage 2: acc[pixel][block * kLanes + o] = start[...] + sum of gain * entry.
struct Tile {
  const uint8_t *const *tables;   // of the tile's pixels, at tap offset 0
  const ptrdiff_t *tap_offsets;
  int64_t taps, vectors;
  const uint8_t *codes;           // [tap][vector][block][kVectorBytes]
  const int8_t *gains;            // the same
  int32_t gain_unit;              // kSmallGain: the sums of gain * entry are multiplied by it
  const int32_t *start;           // [block][kLanes]
  int32_t *acc;                   // aligned to 64 bytes
};

using Accumulate = void (*)(const Tile &);

struct Level {
  const char *name;
  int chunk;                      // bytes of a word that one multiply-add takes
  int blocks;                     // the most kLanes outputs of one tile
  int small_gain;                 // 0: no kernel for kSmallGain
  int pixels[3][kMaxBlocks];      // [Gain][blocks - 1]: the most pixels of one tile
  bool flip[2];                   // [gain]: tables are unsigned
  // Positions within kVectorBytes: of the entry of group j, word c in a table; of output o,
  // group j in codes and in gains; and the byte that stands for code c there.
  int (*table_lane)(int j, int c);
  int (*code_lane)(int o, int j);
  int (*gain_lane)(int o, int j);
  int (*code_byte)(int j, int c);
  void (*build)(const TableJob &);
  Accumulate (*accumulate)(Gain gain, int blocks, int pixels);
  bool (*needs)() = nullptr;  // beyond its instruction set: isa/cpu.h
};

SUBBYTE_ISA_SETS(SUBBYTE_ISA_DECLARE)

}  // namespace subbyte::conv_lut16
