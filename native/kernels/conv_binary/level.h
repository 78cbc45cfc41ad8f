// What one level (instruction set) of the binary kernels provides. Only plain data: see
// isa/sets.h.in for why.
#pragma once

#include <cstddef>
#include <cstdint>

#include "isa/sets.h"

namespace subbyte::conv_binary {

constexpr int kPartials = 16;  // partial sums of |r|; values of a pixel come in multiples
constexpr int kWord = 64;      // channels side by side in the layouts of signs
constexpr int kOutputs = 64;   // of one tile
constexpr int kMaxOrder = 8;
constexpr int kMaxRows = 8;    // of one accumulation
constexpr int kByteChannels = 1 << 16;  // of which sums of bytes are exact as floats

// Stage 1: x of `count` pixels as floats, and the sums of their |values|.
struct Load {
  const void *x;
  bool bytes;        // x is uint8, otherwise float32
  ptrdiff_t x_step;  // elements from pixel to pixel
  int64_t count, channels;
  int32_t zero;
  float *values;     // [count][depth], zeros behind the last channel, aligned to 64 bytes
  int64_t depth;     // channels rounded up to kPartials
  float *sums;       // [count]
};

// Stage 2: signs of all orders of `count` vectors, of `taps` pixels each.
struct Binarize {
  const float *values;       // of the first vector
  ptrdiff_t step;            // floats from vector to vector
  const ptrdiff_t *offsets;  // [taps], floats, of a vector's pixels
  int64_t count, taps, channels, depth;
  int order;
  float size;                // of a vector: taps * channels
  const float *scales;       // [order], or nullptr: each vector has its own
  float *sums;               // [order][sums_step]: of |r_0|, given; of |r_k|, written
  ptrdiff_t sums_step;
  // Signs, where tap t of order k (from 0) begins: 1 for negative, 0 behind the last channel.
  uint8_t *signs;
  ptrdiff_t vector_bytes, order_bytes, tap_bytes;
  float *residual;           // room for taps * depth, aligned to 64 bytes
};

// Stage 1 of bytes whose scales need no residual: signs as Binarize has them, |x - zero| and its
// sums. There are at most kByteChannels channels.
struct LoadBytes {
  const uint8_t *x;
  ptrdiff_t x_step;     // from pixel to pixel, as the others
  int64_t count, channels;
  int32_t zero;
  uint8_t *signs, *sizes;  // [words][kWord] sizes, zeros behind the last channel; or nullptr
  ptrdiff_t signs_step, sizes_step;
  float *sums;          // [count]
};

// Stage 2 of the same at order 2: signs of both orders of `count` vectors.
struct SplitBytes {
  const uint8_t *sizes, *first_signs;  // of the first vector, as LoadBytes leaves them
  ptrdiff_t step;                      // bytes from vector to vector, of both
  const ptrdiff_t *offsets;            // [taps], bytes, of a vector's pixels, of both
  int64_t count, taps, channels;
  const float *betas;                  // [count], of the first order: 0 to 255
  // [count]: sums of sizes beyond floor(beta), and how many sizes are above beta.
  int64_t *excess, *above;
  uint8_t *signs;
  ptrdiff_t vector_bytes, order_bytes, tap_bytes;
};

// Stage 3: sums[row][...] += scale[row] * (size - 2 * count of signs that differ). A row is one
// order of one output position.
struct Tile {
  const uint8_t *const *rows;   // signs of each row
  const ptrdiff_t *offsets;     // [steps], bytes: where kWord channels begin in a row
  int64_t steps;
  const uint8_t *weights;       // [step][block][Level::block_bytes]
  float size;
  const float *scales;          // [row]
  float *const *sums;           // [row], aligned to 64 bytes, for blocks * lanes outputs
};

using Accumulate = void (*)(const Tile &);

struct Level {
  const char *name;
  int word_bytes;     // of kWord channels' signs of x
  int lanes;          // outputs side by side in the layout of weights
  int block_bytes;    // of kWord channels' weights of `lanes` outputs
  int blocks;         // the most of one accumulation; lanes * blocks divides kOutputs
  int rows;           // the most of one accumulation
  int (*weight_bit)(int o, int i);  // of output o, channel i in a block
  void (*load)(const Load &);
  void (*binarize)(const Binarize &);
  void (*load_bytes)(const LoadBytes &);
  void (*split_bytes)(const SplitBytes &);
  Accumulate (*accumulate)(int blocks, int rows);
  bool (*needs)() = nullptr;  // beyond its instruction set: isa/cpu.h
};

SUBBYTE_ISA_SETS(SUBBYTE_ISA_DECLARE)

}  // namespace subbyte::conv_binary
