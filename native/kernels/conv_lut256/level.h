// What one level (instruction set) of the kernels for 32 to 256 words provides: its layouts
// and stages. Only plain data: see isa/sets.h.in for why.
//
// Channel groups come in vectors of kVectorGroups. A table holds the entries of one vector,
// [kVectorGroups][words] bytes in an order of the level's; a cell holds the codes (or gains)
// of one vector for Level::lanes outputs, a byte each.
#pragma once

#include <cstddef>
#include <cstdint>

#include "isa/sets.h"

namespace subbyte::conv_lut256 {

constexpr int kVectorGroups = 4;
constexpr int kUnit = 16;        // words side by side in the packed codebook
constexpr int kMaxWords = 256;
constexpr int kMaxLanes = 64;
constexpr int kMaxCells = 2;     // side by side in one tile; 1 or 2 of a kind of layer
constexpr int kMaxPixels = 5;    // of one tile

// Stage 1: tables of `count` pixels; the entry of word c:
// clamp((start[c] + sum over i of word[c][i] * x[i]) >> shift, -128, 127) ^ flip.
struct TableJob {
  const uint8_t *x;
  ptrdiff_t x_stride;        // bytes from pixel to pixel
  int64_t count;
  const int8_t *codebook;    // [channel group][words / kUnit][chunks][kUnit][Level::chunk]
  const int16_t *start;      // [channel group][words]: half - input_zero * sum(word)
  int64_t vectors;
  int words, word_length, chunks, shift;
  uint8_t flip;              // 0x80: entries are stored as entry + 128, unsigned
  uint8_t *tables;           // aligned to 64 bytes
  ptrdiff_t table_stride;    // from pixel to pixel
};

// Stage 2: acc[pixel][cell][o] = start[...] + sum of gain * entry.
struct Tile {
  const uint8_t *const *tables;   // of the tile's pixels, at tap 0
  const ptrdiff_t *offsets;       // [steps]: from there to the table of a tap and vector
  int64_t steps;
  int words;
  const uint8_t *codes;           // [step][cell][kVectorGroups * lanes]
  const int8_t *gains;            // the same
  const int32_t *start;           // [cell][lanes]
  int32_t *acc;                   // aligned to 64 bytes
};

using Accumulate = void (*)(const Tile &);

struct Level {
  const char *name;
  int chunk;   // bytes of a word that one multiply-add takes
  int lanes;   // outputs of a cell; divides kMaxLanes
  bool flip;   // tables are unsigned
  // Positions: of the entry of group j of the vector and word c in what one look-up reads (the
  // byte that stands for the code); of output o and group j in a cell of codes and of gains.
  int (*code_byte)(int words, int j, int c);
  int (*code_lane)(int words, bool gain, int o, int j);
  int (*gain_lane)(int o, int j);
  void (*build)(const TableJob &);
  // The most cells of a tile, and the most pixels of one of so many cells.
  int (*most_cells)(int words, bool gain);
  int (*most_pixels)(int words, bool gain, int cells);
  Accumulate (*accumulate)(int words, bool gain, int cells, int pixels);
  bool (*needs)() = nullptr;  // beyond its instruction set: isa/cpu.h
};

SUBBYTE_ISA_SETS(SUBBYTE_ISA_DECLARE)

}  // namespace subbyte::conv_lut256
