// GEMV kernels for 64-bit Arm with its base vector instructions. Look-ups and sums as in
// conv_lut16/neon.cpp: one group of sixteen outputs a register, entries signed.
#include <arm_neon.h>

#include "gemv/level.h"

namespace subbyte::gemv {
namespace {

int group_major(int o, int j) { return j * kLanes + o; }

// Fields of sixteen lanes of kVectors vectors; the bits above a field stay, for tables that
// repeat do not see them.
template <int kBits>
void split(const uint8_t *fields, uint8x16_t *to) {
  if constexpr (kBits == 3) {
    uint8x16_t v[3];
    for (int r = 0; r < 3; ++r) {
      v[r] = vld1q_u8(fields + r * kVectorBytes);
      to[2 * r] = v[r];
      to[2 * r + 1] = vshrq_n_u8(v[r], 3);
    }
    // Insert the highest two bits of each above those of the one before.
    const uint8x16_t low = vsliq_n_u8(vshrq_n_u8(v[0], 6), vshrq_n_u8(v[1], 6), 2);
    to[6] = vsliq_n_u8(low, vshrq_n_u8(v[2], 6), 4);
    to[7] = vshrq_n_u8(to[6], 3);
  } else {
    constexpr int kEach = 8 / kBits;
    for (int k = 0; k < kVectors; ++k) {
      const uint8x16_t v = vld1q_u8(fields + k / kEach * kVectorBytes);
      to[k] = vshlq_u8(v, vdupq_n_s8(static_cast<int8_t>(-kBits * (k % kEach))));
    }
  }
}

// `levels` repeats every 2^kBits.
template <int kBits>
void expand(const uint8_t *fields, int8x16_t levels, int8x16_t *to) {
  uint8x16_t at[kVectors];
  split<kBits>(fields, at);
  for (int k = 0; k < kVectors; ++k) to[k] = vqtbl1q_s8(levels, vandq_u8(at[k], vdupq_n_u8(15)));
}

// Eight int16 sums into eight int32 ones.
void add_to(int32_t *acc, int16x8_t sums) {
  vst1q_s32(acc, vaddw_s16(vld1q_s32(acc), vget_low_s16(sums)));
  vst1q_s32(acc + 4, vaddw_high_s16(vld1q_s32(acc + 4), sums));
}

// The entries of vectors k and k + 1 of one group of sixteen outputs.
void look_up(const uint8_t *tables, const uint8_t *codes, int8x16_t *to) {
  const uint8x16_t pair = vld1q_u8(codes);
  const int8x16_t first = vreinterpretq_s8_u8(vld1q_u8(tables));
  const int8x16_t second = vreinterpretq_s8_u8(vld1q_u8(tables + kVectorBytes));
  to[0] = vqtbl1q_s8(first, vandq_u8(pair, vdupq_n_u8(15)));
  to[1] = vqtbl1q_s8(second, vshrq_n_u8(pair, 4));
}

// Sums of kUnit * kChunk = 256 entries are within -128 * 256 = -2^15 and 127 * 256.
void lookup_plain(const Tile &tile) {
  int16x8_t low[kTileBlocks], high[kTileBlocks];
  for (int b = 0; b < kTileBlocks; ++b) low[b] = high[b] = vdupq_n_s16(0);
  const uint8_t *from = tile.weights, *tables = tile.data;
  for (int64_t unit = tile.units; unit > 0; --unit, tables += kTableBytes) {
    for (int b = 0; b < kTileBlocks; ++b, from += kCodeBytes) {
      for (int at = 0; at < kCodeBytes; at += conv_lut16::kWords) {
        int8x16_t entry[2];
        look_up(tables + at / kVectorBytes * 2 * kVectorBytes + at % kVectorBytes, from + at,
                entry);
        for (const int8x16_t &one : entry) {
          low[b] = vaddw_s8(low[b], vget_low_s8(one));
          high[b] = vaddw_high_s8(high[b], one);
        }
      }
    }
  }
  for (int b = 0; b < kTileBlocks; ++b) {
    add_to(tile.acc + b * kLanes, low[b]);
    add_to(tile.acc + b * kLanes + 8, high[b]);
  }
}

// Two products share 16 bits: 2 * 128 * 64 < 2^15.
template <int kBits>
void lookup_gain(const Tile &tile) {
  const int8x16_t levels = vld1q_s8(tile.levels);
  const uint8_t *from = tile.weights, *tables = tile.data;
  for (int64_t unit = tile.units; unit > 0; --unit, tables += kTableBytes) {
    for (int b = 0; b < kTileBlocks; ++b, from += kBits * kVectorBytes + kCodeBytes) {
      for (int j = 0; j < kQuad; ++j) {
        int8x16_t gain[kVectors];
        expand<kBits>(from + j * kLanes, levels, gain);
        for (int k = 0; k < kVectors; k += 2) {
          int8x16_t entry[2];
          look_up(tables + k * kVectorBytes + j * kLanes,
                  from + (kBits + k / 2) * kVectorBytes + j * kLanes, entry);
          int16x8_t low = vmull_s8(vget_low_s8(entry[0]), vget_low_s8(gain[k]));
          int16x8_t high = vmull_high_s8(entry[0], gain[k]);
          low = vmlal_s8(low, vget_low_s8(entry[1]), vget_low_s8(gain[k + 1]));
          high = vmlal_high_s8(high, entry[1], gain[k + 1]);
          add_to(tile.acc + b * kLanes, low);
          add_to(tile.acc + b * kLanes + 8, high);
        }
      }
    }
  }
}

template <int kBits>
void unpack(const Tile &tile) {
  const int8x16_t levels = vld1q_s8(tile.levels);
  const uint8_t *from = tile.weights, *x = tile.data;
  for (int64_t unit = tile.units; unit > 0; --unit, x += kUnit) {
    for (int b = 0; b < kTileBlocks; ++b, from += kBits * kVectorBytes) {
      int32x4_t sum[4];
      for (int i = 0; i < 4; ++i) sum[i] = vld1q_s32(tile.acc + b * kLanes + 4 * i);
      for (int j = 0; j < kQuad; ++j) {
        int8x16_t weight[kVectors];
        expand<kBits>(from + j * kLanes, levels, weight);
        for (int k = 0; k < kVectors; ++k) {
          const int16x8_t low = vmovl_s8(vget_low_s8(weight[k]));
          const int16x8_t high = vmovl_high_s8(weight[k]);
          const int16x4_t value = vdup_n_s16(x[k * kQuad + j]);
          sum[0] = vmlal_s16(sum[0], vget_low_s16(low), value);
          sum[1] = vmlal_high_s16(sum[1], low, vcombine_s16(value, value));
          sum[2] = vmlal_s16(sum[2], vget_low_s16(high), value);
          sum[3] = vmlal_high_s16(sum[3], high, vcombine_s16(value, value));
        }
      }
      for (int i = 0; i < 4; ++i) vst1q_s32(tile.acc + b * kLanes + 4 * i, sum[i]);
    }
  }
}

Accumulate choose_lookup(int bits, int) {
  static constexpr Accumulate kTiles[] = {lookup_plain, lookup_gain<1>, lookup_gain<2>,
                                          lookup_gain<3>, lookup_gain<4>};
  return kTiles[bits];
}

Accumulate choose_unpack(int bits, int) {
  static constexpr Accumulate kTiles[] = {unpack<2>, unpack<3>, unpack<4>};
  return kTiles[bits - 2];
}

}  // namespace

extern const Level kNeon = {
    "neon",       1, false, group_major, group_major, group_major, choose_lookup,
    choose_unpack,
};

}  // namespace subbyte::gemv
