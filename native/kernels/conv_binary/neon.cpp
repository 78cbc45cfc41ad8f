// Binary kernels for NEON: `eor` and `cnt` on 64 channels of 2 outputs.
#include <arm_neon.h>

#include "conv_binary/level.h"

namespace subbyte::conv_binary {
namespace {

constexpr int kLanes = 2;
constexpr int kBlocks = 4;
constexpr int kRows = 4;

int word_bit(int o, int i) { return o * kWord + i; }

// Compilers vectorise the portable ones.
void load(const Load &job) { kPortable.load(job); }
void binarize(const Binarize &job) { kPortable.binarize(job); }
void load_bytes(const LoadBytes &job) { kPortable.load_bytes(job); }
void split_bytes(const SplitBytes &job) { kPortable.split_bytes(job); }

void add_scaled(const Tile &tile, int row, int block, uint64x2_t count) {
  const float32x2_t differ = vcvt_f32_u32(vmovn_u64(count));
  // Both are exact: integers of less than 2^24.
  const float32x2_t dot = vsub_f32(vdup_n_f32(tile.size), vadd_f32(differ, differ));
  float *sums = tile.sums[row] + block * kLanes;
  vst1_f32(sums, vadd_f32(vld1_f32(sums), vmul_f32(vdup_n_f32(tile.scales[row]), dot)));
}

template <int kBlockCount, int kRowCount>
void accumulate(const Tile &tile) {
  constexpr int64_t kByteSteps = 31;  // of at most 8 a byte
  uint64x2_t count[kRowCount][kBlockCount];
  for (auto &row : count) {
    for (uint64x2_t &block : row) block = vdupq_n_u64(0);
  }
  const uint8_t *weights = tile.weights;
  for (int64_t first = 0; first < tile.steps; first += kByteSteps) {
    const int64_t last = first + kByteSteps < tile.steps ? first + kByteSteps : tile.steps;
    uint8x16_t sum[kRowCount][kBlockCount];
    for (auto &row : sum) {
      for (uint8x16_t &block : row) block = vdupq_n_u8(0);
    }
    for (int64_t step = first; step < last; ++step, weights += kBlockCount * 16) {
      for (int r = 0; r < kRowCount; ++r) {
        const uint8x8_t word = vld1_u8(tile.rows[r] + tile.offsets[step]);
        const uint8x16_t x = vcombine_u8(word, word);
        for (int b = 0; b < kBlockCount; ++b) {
          const uint8x16_t differ = veorq_u8(x, vld1q_u8(weights + b * 16));
          sum[r][b] = vaddq_u8(sum[r][b], vcntq_u8(differ));
        }
      }
    }
    for (int r = 0; r < kRowCount; ++r) {
      for (int b = 0; b < kBlockCount; ++b) {
        count[r][b] = vpadalq_u32(count[r][b], vpaddlq_u16(vpaddlq_u8(sum[r][b])));
      }
    }
  }
  for (int r = 0; r < kRowCount; ++r) {
    for (int b = 0; b < kBlockCount; ++b) add_scaled(tile, r, b, count[r][b]);
  }
}

Accumulate choose(int blocks, int rows) {
  static constexpr Accumulate kTiles[kBlocks][kRows] = {
      {accumulate<1, 1>, accumulate<1, 2>, accumulate<1, 3>, accumulate<1, 4>},
      {accumulate<2, 1>, accumulate<2, 2>, accumulate<2, 3>, accumulate<2, 4>},
      {accumulate<3, 1>, accumulate<3, 2>, accumulate<3, 3>, accumulate<3, 4>},
      {accumulate<4, 1>, accumulate<4, 2>, accumulate<4, 3>, accumulate<4, 4>},
  };
  return kTiles[blocks - 1][rows - 1];
}

}  // namespace

extern const Level kNeon = {
    "neon", 8, kLanes, kLanes * kWord / 8, kBlocks, kRows,
    word_bit, load, binarize, load_bytes, split_bytes, choose,
};

}  // namespace subbyte::conv_binary
