// What one level (instruction set) of the int8 kernels provides. Only plain data: see
// isa/sets.h.in for why.
#pragma once

#include <cstddef>
#include <cstdint>

#include "isa/sets.h"

namespace subbyte::conv_int8 {

constexpr int kLanes = 16;      // outputs side by side in the layout of weights
constexpr int kMaxBlocks = 4;   // of kLanes outputs, of one tile
constexpr int kMaxPixels = 12;  // of one tile
constexpr int kChannels = 32;   // depthwise: channels side by side
constexpr int kMostTaps = 4;    // depthwise: of one step

// acc[pixel][block * kLanes + o] = start[...] + sum of weight * (x - Level::offset).
struct Tile {
  const uint8_t *const *pixels;  // staged x of the tile's pixels, at tap offset 0
  const ptrdiff_t *tap_offsets;  // bytes
  int64_t taps, steps;           // steps of Level::quad channels
  const void *weights;           // [tap][step][block][kLanes][quad], of Level::element bytes
  const int32_t *start;          // [block][kLanes]
  int32_t *acc;                  // aligned to 64 bytes
};

// The same without an offset for a depthwise convolution, on kChannels channels of `count` pixels.
struct Depthwise {
  const uint8_t *x;              // uint8, of the first pixel, at tap offset 0
  ptrdiff_t pixel_stride;        // bytes from pixel to pixel
  const ptrdiff_t *tap_offsets;  // [steps][Level::depthwise_taps]
  int64_t steps;                 // even where a step is one tap
  int step_taps;                 // of a step; the rest of it meets weights of zero
  // [step] of kChannels channels each: int16 where a step is one tap, else int8 [lane][tap].
  const void *weights;
  ptrdiff_t weight_stride;       // bytes from step to step
  const int32_t *start;          // [kChannels]
  int count;                     // at most kMaxPixels
  int32_t *acc;                  // [pixel][kChannels], aligned to 64 bytes
};

using Accumulate = void (*)(const Tile &);

struct Level {
  const char *name;
  int quad;      // channels that one multiply-add takes
  int element;   // bytes of a staged channel and of a weight: 1 or 2
  int offset;    // what accumulate takes from every x: 128 where it multiplies signed numbers
  int blocks;    // the most kLanes outputs of one tile
  int pixels[kMaxBlocks];  // [blocks - 1]: the most pixels of one tile
  Accumulate (*accumulate)(int blocks, int pixels);
  void (*depthwise)(const Depthwise &);
  int depthwise_taps;    // 1, or kMostTaps
  int (*depthwise_lane)(int c);  // the lane of channel c in a step of kMostTaps taps
  bool (*needs)() = nullptr;  // beyond its instruction set: isa/cpu.h
};

SUBBYTE_ISA_SETS(SUBBYTE_ISA_DECLARE)

}  // namespace subbyte::conv_int8
