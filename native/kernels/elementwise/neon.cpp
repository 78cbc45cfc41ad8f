// For 64-bit Arm with its base vector instructions, sixteen channels at a time. What is left
// over goes through the loops of stages.h.
#include <arm_neon.h>

#include "byte_table/neon.h"
#include "elementwise/stages.h"

namespace subbyte::elementwise {
namespace {

constexpr int kLanes = 16;

struct Floats {
  float32x4_t part[4];
};

// x - zero.
Floats centre(uint8x16_t x, int32_t zero) {
  const int16x8_t offset = vdupq_n_s16(static_cast<int16_t>(zero));
  const int16x8_t low = vsubq_s16(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(x))), offset);
  const int16x8_t high = vsubq_s16(vreinterpretq_s16_u16(vmovl_high_u8(x)), offset);
  return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_high_s16(low)),
           vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_high_s16(high))}};
}

// As quantize() of stages.h: `fcvtns` rounds half to even, and `fmaxnm` of NaN and a number is
// the number, here the least code.
uint8x16_t quantize(const Floats &values, int32_t zero) {
  const float32x4_t least = vdupq_n_f32(static_cast<float>(-zero));
  const float32x4_t most = vdupq_n_f32(static_cast<float>(255 - zero));
  int16x4_t codes[4];
  for (int i = 0; i < 4; ++i) {
    const float32x4_t value = vminnmq_f32(vmaxnmq_f32(values.part[i], least), most);
    codes[i] = vmovn_s32(vcvtnq_s32_f32(value));
  }
  // Their lowest bytes are enough: with the zero, codes are 0 to 255 again.
  const int8x8_t low = vmovn_s16(vcombine_s16(codes[0], codes[1]));
  const int8x16_t all = vmovn_high_s16(low, vcombine_s16(codes[2], codes[3]));
  return vaddq_u8(vreinterpretq_u8_s8(all), vdupq_n_u8(static_cast<uint8_t>(zero)));
}

template <bool kMul>
uint8x16_t combine(const Rows &row, uint8x16_t x, const Floats &b) {
  Floats values = centre(x, row.x_zero);
  for (int i = 0; i < 4; ++i) {
    float32x4_t &value = values.part[i];
    value = kMul ? vmulq_n_f32(vmulq_f32(value, b.part[i]), row.x_factor)
                 : vaddq_f32(vmulq_n_f32(value, row.x_factor),
                             vmulq_n_f32(b.part[i], row.r_factor));
  }
  return quantize(values, row.y_zero);
}

template <bool kMul>
void pairs(const Rows &job) {
  const Rows row = job;  // y may be any bytes, but not these
  if (row.x_step != 1 || row.r_step > 1) return pairwise_row<kMul>(row);
  Floats b = centre(vdupq_n_u8(row.r[0]), row.r_zero);
  int64_t i = 0;
  for (; i + kLanes <= row.count; i += kLanes) {
    if (row.r_step == 1) b = centre(vld1q_u8(row.r + i), row.r_zero);
    vst1q_u8(row.y + i, combine<kMul>(row, vld1q_u8(row.x + i), b));
  }
  for (; i < row.count; ++i) row.y[i] = combine<kMul>(row, row.x[i], row.r[i * row.r_step]);
}

template <int kVectors>
void max_of_vectors(const Window &job) {
  for (int64_t window = 0; window < job.count; ++window) {
    const uint8_t *first = job.x + window * job.x_step;
    uint8x16_t best[kVectors];
    for (uint8x16_t &vector : best) vector = vdupq_n_u8(0);
    for (int64_t row = 0; row < job.rows; ++row) {
      const uint8_t *x = first + row * job.row_stride;
      for (int64_t column = 0; column < job.columns; ++column, x += job.column_stride) {
        for (int v = 0; v < kVectors; ++v) best[v] = vmaxq_u8(best[v], vld1q_u8(x + v * kLanes));
      }
    }
    uint8_t *y = job.y + window * job.y_step;
    for (int v = 0; v < kVectors; ++v) vst1q_u8(y + v * kLanes, best[v]);
  }
}

// Sums of sixteen channels: in 16 bits, and moved to 32 before they could pass them.
struct Sums {
  static constexpr int kFlush = 257;  // 257 * 255 = 2^16 - 1

  uint16x8_t low, high;
  uint32x4_t part[4];

  void clear() {
    low = high = vdupq_n_u16(0);
    for (uint32x4_t &sum : part) sum = vdupq_n_u32(0);
  }

  void add(uint8x16_t x) {
    low = vaddw_u8(low, vget_low_u8(x));
    high = vaddw_high_u8(high, x);
  }

  void flush() {
    part[0] = vaddw_u16(part[0], vget_low_u16(low));
    part[1] = vaddw_high_u16(part[1], low);
    part[2] = vaddw_u16(part[2], vget_low_u16(high));
    part[3] = vaddw_high_u16(part[3], high);
    low = high = vdupq_n_u16(0);
  }
};

// The zero is taken from a whole sum: at most 2^23 pixels of 255, below 2^31 (elementwise/run.cpp).
uint8x16_t average_of_sums(const Window &job, const Sums &sums) {
  const int32x4_t zeros = vdupq_n_s32(static_cast<int32_t>(job.rows * job.columns * job.x_zero));
  Floats values;
  for (int i = 0; i < 4; ++i) {
    const int32x4_t sum = vsubq_s32(vreinterpretq_s32_u32(sums.part[i]), zeros);
    values.part[i] = vmulq_n_f32(vcvtq_f32_s32(sum), job.factor);
  }
  return quantize(values, job.y_zero);
}

template <int kVectors>
void average_of_vectors(const Window &job) {
  for (int64_t window = 0; window < job.count; ++window) {
    const uint8_t *first = job.x + window * job.x_step;
    Sums sums[kVectors];
    for (Sums &sum : sums) sum.clear();
    int room = Sums::kFlush;
    for (int64_t row = 0; row < job.rows; ++row) {
      const uint8_t *x = first + row * job.row_stride;
      for (int64_t column = 0; column < job.columns; ++column, x += job.column_stride) {
        for (int v = 0; v < kVectors; ++v) sums[v].add(vld1q_u8(x + v * kLanes));
        if (--room == 0) {
          for (Sums &sum : sums) sum.flush();
          room = Sums::kFlush;
        }
      }
    }
    uint8_t *y = job.y + window * job.y_step;
    for (int v = 0; v < kVectors; ++v) {
      sums[v].flush();
      vst1q_u8(y + v * kLanes, average_of_sums(job, sums[v]));
    }
  }
}

void max(const Window &job) {
  by_channels(job, max_of_vectors<4>, max_of_vectors<2>, max_of_vectors<1>, max_of<0>);
}

void average(const Window &job) {
  by_channels(job, average_of_vectors<4>, average_of_vectors<2>, average_of_vectors<1>,
              average_of<0>);
}

void map(const uint8_t *table, const uint8_t *x, int64_t count, uint8_t *y) {
  byte_table::map(table, byte_table::load(table), x, count, y);
}

}  // namespace

extern const Level kNeon = {
    "neon", by_rows<pairs<false>>, by_rows<pairs<true>>, max, average, map, shuffle,
};

}  // namespace subbyte::elementwise
