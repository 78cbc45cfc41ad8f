// Unpacking for 64-bit Arm, to the 8-bit weights that its int8 tiles multiply.
#include <arm_neon.h>

#include "conv_int4/level.h"

namespace subbyte::conv_int4 {
namespace {

constexpr int kPart = 16;  // weights of a register

// 16 levels of the codes in the bits of `mask`.
void look_up(uint8x16_t codes, uint8x16_t mask, int8x16_t levels, int8_t *to) {
  vst1q_s8(to, vqtbl1q_s8(levels, vandq_u8(codes, mask)));
}

void unpack_4(const uint8_t *codes, int8x16_t levels, int8_t *to) {
  const uint8x16_t mask = vdupq_n_u8(15);
  for (int j = 0; j < kVectors / 2; ++j, codes += kVector, to += 2 * kVector) {
    for (int part = 0; part < kVector; part += kPart) {
      const uint8x16_t pair = vld1q_u8(codes + part);
      look_up(pair, mask, levels, to + part);
      look_up(vshrq_n_u8(pair, 4), mask, levels, to + kVector + part);
    }
  }
}

void unpack_3(const uint8_t *codes, int8x16_t levels, int8_t *to) {
  const uint8x16_t mask = vdupq_n_u8(7), third = vdupq_n_u8(4);
  for (int part = 0; part < kVector; part += kPart) {
    uint8x16_t bytes[3];
    for (int j = 0; j < 3; ++j) {
      bytes[j] = vld1q_u8(codes + j * kVector + part);
      look_up(bytes[j], mask, levels, to + 2 * j * kVector + part);
      look_up(vshrq_n_u8(bytes[j], 3), mask, levels, to + (2 * j + 1) * kVector + part);
    }
    const uint8x16_t sixth =
        vorrq_u8(vshrq_n_u8(bytes[0], 6), vandq_u8(vshrq_n_u8(bytes[2], 4), third));
    const uint8x16_t seventh =
        vorrq_u8(vshrq_n_u8(bytes[1], 6), vandq_u8(vshrq_n_u8(bytes[2], 5), third));
    look_up(sixth, mask, levels, to + 6 * kVector + part);
    look_up(seventh, mask, levels, to + 7 * kVector + part);
  }
}

void unpack(const Unpack &job) {
  const int8x16_t levels = vld1q_s8(job.levels);
  const uint8_t *codes = job.codes;
  auto *to = static_cast<int8_t *>(job.weights);
  for (int64_t unit = 0; unit < job.units; ++unit, to += kUnit) {
    if (job.bits == 4) {
      unpack_4(codes, levels, to);
    } else {
      unpack_3(codes, levels, to);
    }
    codes += job.bits * kVector;
  }
}

void add(const int32_t *from, int64_t count, int32_t *to) {
  for (int64_t i = 0; i < count; i += 4) {
    vst1q_s32(to + i, vaddq_s32(vld1q_s32(to + i), vld1q_s32(from + i)));
  }
}

}  // namespace

extern const Level kNeon = {"neon", unpack, nullptr, add};

}  // namespace subbyte::conv_int4
