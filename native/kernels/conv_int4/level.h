// What one level (instruction set) of the unpack kernels provides, beside the tiles of the int8
// level with its name. Only plain data: see isa/sets.h.in for why.
#pragma once

#include <cstddef>
#include <cstdint>

#include "conv_int8/level.h"
#include "isa/sets.h"

namespace subbyte::conv_int4 {

// Codes lie in units of kVectors vectors of kVector weights, in `bits` vectors of bytes.
// 4 bits: byte i of vector j holds weights i of vectors 2j (low bits) and 2j + 1.
// 3 bits: the same for vectors 0 to 5, in bits 0-2 and 3-5. Of vector 6 + k the lower two
// bits of weight i are bits 6-7 of byte i of vector k, the third is bit 6 + k of vector 2.
constexpr int kVector = 64;
constexpr int kVectors = 8;
constexpr int kUnit = kVector * kVectors;
constexpr int kCodeValues = 16;

// weights[i] = levels[codes[i]].
struct Unpack {
  const uint8_t *codes;  // [unit][bits][kVector]
  int bits;              // 3 or 4
  int element;           // bytes of a weight, as in the int8 level
  int64_t units;
  const int8_t *levels;  // [kCodeValues]; of 3 bits, code i and i + 8 have the same
  void *weights;         // [unit][kUnit], aligned to 64 bytes
};

// Tile::weights need not be there yet: they are unpacked as they are multiplied, and written for
// the tiles that follow. Of each tap the weights are whole units.
using Accumulate = void (*)(const conv_int8::Tile &, const Unpack &);

struct Level {
  const char *name;
  void (*unpack)(const Unpack &);
  // May be nullptr, and may return nullptr: the tile is then unpacked before.
  Accumulate (*accumulate)(int bits, int blocks, int pixels);
  // to[i] += from[i]; `count` is a multiple of 16, both are aligned to 64 bytes.
  void (*add)(const int32_t *from, int64_t count, int32_t *to);
  bool (*needs)() = nullptr;  // beyond its instruction set: isa/cpu.h
};

SUBBYTE_ISA_SETS(SUBBYTE_ISA_DECLARE)

}  // namespace subbyte::conv_int4
