// What one level (instruction set) of the GEMV kernels provides. Only plain data: see
// isa/sets.h.in for why. The look-up level of the same name builds tables.
//
// Weights lie in units of kVectors vectors, for kTile outputs:
//
//   unit = [lane block][fields of gains][fields of codes], of look-ups; [fields], of weights
//
// A vector holds kLanes outputs times kQuad groups (of weights: inputs). Fields of `bits` bits
// of kVectors vectors are `bits` registers of kVectorBytes. Vector k's field is
//
//   bits 1, 2, 4:  bits * (k % n) and up of register k / n, n = 8 / bits
//   bits 3:        3 * (k % 2) and up of register k / 2 for k < 6; the fields of vectors 6 and
//                  7, six bits, are the two highest bits of registers 0, 1 and 2
//
// so that a permutation by six bits needs no mask for most of them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "conv_lut16/level.h"
#include "isa/sets.h"

namespace subbyte::gemv {

constexpr int kLanes = 16;
constexpr int kQuad = 4;
constexpr int kVectorBytes = kLanes * kQuad;
constexpr int kVectors = 8;                       // of a unit
constexpr int kUnit = kVectors * kQuad;           // groups or inputs of a unit
constexpr int kTileBlocks = 4;                    // of kLanes outputs, of a tile
constexpr int kTile = kTileBlocks * kLanes;
constexpr int kBlock = 256;                       // outputs of a block: its sums are held at once
constexpr int kChunk = 8;                         // units: their tables stay in the first cache
constexpr int kRows = 8;                          // for which weights are read once
constexpr int kLevelTables = 6;
constexpr int kCodeBytes = 4 * kVectorBytes;      // codes of a lane block of a unit: 4 bits each
constexpr int kTableBytes = kVectors * kVectorBytes;  // of a unit

// acc[row][o] += sum over the units, o < kTile.
struct Tile {
  const uint8_t *data;     // of the first row: tables [unit][vector][kVectorBytes], or x
  ptrdiff_t data_stride;   // bytes from row to row
  int64_t units;           // 1 to kChunk
  const uint8_t *weights;  // [unit]...
  // [kLevelTables][kVectorBytes]: entry i of table k is the level, or gain, of the field at
  // bits `bits * k` and up of i.
  const int8_t *levels;
  int32_t *acc;            // [row][kBlock], aligned to 64 bytes
};

using Accumulate = void (*)(const Tile &);

struct Level {
  const char *name;
  int rows;  // the most of one tile
  // The codes' low and high two bits are four bits apart, as the positions in the tables are:
  // the first vector of a register has bits 0, 1, 4 and 5, the second the rest.
  bool spread;
  // Position of output o, group (input) j within kVectorBytes.
  int (*code_lane)(int o, int j);
  int (*gain_lane)(int o, int j);
  int (*weight_lane)(int o, int j);
  Accumulate (*lookup)(int gain_bits, int rows);  // 0 to 4 bits; entries are as the look-up
                                                  // level's flip[gain_bits > 0] says
  Accumulate (*unpack)(int bits, int rows);       // 2 to 4 bits
  bool (*needs)() = nullptr;  // beyond its instruction set: isa/cpu.h
};

SUBBYTE_ISA_SETS(SUBBYTE_ISA_DECLARE)

}  // namespace subbyte::gemv
