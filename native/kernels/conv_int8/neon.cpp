// int8 kernels for 64-bit Arm with dot products (optional from Armv8.2 on): `sdot`, four
// channels times four outputs.
//
// `sdot` multiplies signed by signed. A byte of x with its highest bit turned is x - 128 as
// int8, and weights * x = weights * (x - 128) + 128 * weights: pack() adds the last term to
// the start of a sum, as Level::offset says. Sums wrap at 32 bits and end within them.
#include <arm_neon.h>

#include <cstring>

#include "conv_int8/level.h"
#include "isa/cpu.h"

namespace subbyte::conv_int8 {
namespace {

constexpr int kQuad = 4;
constexpr int kPixels = 6;  // 24 of the 32 registers hold sums
constexpr int kParts = kLanes / 4;          // registers of a pixel's sums
constexpr int kStepBytes = kLanes * kQuad;  // of weights
constexpr int kRegisterSteps = 4;           // that a register of x is enough for

int8x16_t less_128(uint8x16_t x) { return vreinterpretq_s8_u8(veorq_u8(x, vdupq_n_u8(128))); }

int8x16_t broadcast_quad(const uint8_t *x) {
  uint32_t quad;
  std::memcpy(&quad, x, sizeof quad);
  return less_128(vreinterpretq_u8_u32(vdupq_n_u32(quad)));
}

// The step of which x holds quad kLane.
template <int kLane, int kCount>
void add_step(const int8_t *weights, const int8x16_t *x, int32x4_t (*sums)[kParts]) {
  for (int i = 0; i < kParts; ++i) {
    const int8x16_t weight = vld1q_s8(weights + 16 * i);
    for (int p = 0; p < kCount; ++p) {
      sums[p][i] = vdotq_laneq_s32(sums[p][i], weight, x[p], kLane);
    }
  }
}

template <int kCount>
void accumulate(const Tile &tile) {
  int32x4_t sums[kCount][kParts];
  for (int p = 0; p < kCount; ++p) {
    for (int i = 0; i < kParts; ++i) sums[p][i] = vld1q_s32(tile.start + 4 * i);
  }
  const auto *weights = static_cast<const int8_t *>(tile.weights);
  for (int64_t tap = 0; tap < tile.taps; ++tap) {
    const uint8_t *from[kCount];
    for (int p = 0; p < kCount; ++p) from[p] = tile.pixels[p] + tile.tap_offsets[tap];
    int8x16_t x[kCount];
    int64_t step = 0;
    for (; step + kRegisterSteps <= tile.steps; step += kRegisterSteps) {
      for (int p = 0; p < kCount; ++p) x[p] = less_128(vld1q_u8(from[p] + kQuad * step));
      add_step<0, kCount>(weights, x, sums);
      add_step<1, kCount>(weights + kStepBytes, x, sums);
      add_step<2, kCount>(weights + 2 * kStepBytes, x, sums);
      add_step<3, kCount>(weights + 3 * kStepBytes, x, sums);
      weights += kRegisterSteps * kStepBytes;
    }
    for (; step < tile.steps; ++step, weights += kStepBytes) {
      for (int p = 0; p < kCount; ++p) x[p] = broadcast_quad(from[p] + kQuad * step);
      add_step<0, kCount>(weights, x, sums);
    }
  }
  for (int p = 0; p < kCount; ++p) {
    for (int i = 0; i < kParts; ++i) vst1q_s32(tile.acc + p * kLanes + 4 * i, sums[p][i]);
  }
}

Accumulate choose(int, int pixels) {
  static constexpr Accumulate kTiles[kPixels] = {accumulate<1>, accumulate<2>, accumulate<3>,
                                                 accumulate<4>, accumulate<5>, accumulate<6>};
  return kTiles[pixels - 1];
}

// Sixteen channels from c on.
template <int kCount>
void depthwise_tile(const Depthwise &job, int pixel, int c) {
  int32x4_t sums[kCount][4];
  for (int p = 0; p < kCount; ++p) {
    for (int i = 0; i < 4; ++i) sums[p][i] = vld1q_s32(job.start + c + 4 * i);
  }
  const uint8_t *from = job.x + pixel * job.pixel_stride + c;
  const char *at = static_cast<const char *>(job.weights);
  for (int64_t tap = 0; tap < job.steps; ++tap, at += job.weight_stride) {
    const int16_t *weights = reinterpret_cast<const int16_t *>(at) + c;
    const int16x8_t w_low = vld1q_s16(weights), w_high = vld1q_s16(weights + 8);
    for (int p = 0; p < kCount; ++p) {
      const uint8x16_t x = vld1q_u8(from + p * job.pixel_stride + job.tap_offsets[tap]);
      const int16x8_t low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(x)));
      const int16x8_t high = vreinterpretq_s16_u16(vmovl_high_u8(x));
      sums[p][0] = vmlal_s16(sums[p][0], vget_low_s16(low), vget_low_s16(w_low));
      sums[p][1] = vmlal_high_s16(sums[p][1], low, w_low);
      sums[p][2] = vmlal_s16(sums[p][2], vget_low_s16(high), vget_low_s16(w_high));
      sums[p][3] = vmlal_high_s16(sums[p][3], high, w_high);
    }
  }
  for (int p = 0; p < kCount; ++p) {
    int32_t *acc = job.acc + (pixel + p) * kChannels + c;
    for (int i = 0; i < 4; ++i) vst1q_s32(acc + 4 * i, sums[p][i]);
  }
}

void depthwise(const Depthwise &job) {
  for (int c = 0; c < kChannels; c += 16) {
    int pixel = 0;
    for (; pixel + 4 <= job.count; pixel += 4) depthwise_tile<4>(job, pixel, c);
    for (; pixel < job.count; ++pixel) depthwise_tile<1>(job, pixel, c);
  }
}

}  // namespace

extern const Level kNeon = {
    "neon", kQuad, 1, 128, 1, {kPixels, 0, 0, 0}, choose, depthwise,
    1, nullptr, isa::has_dot_products,
};

}  // namespace subbyte::conv_int8
