// Look-up kernels for 64-bit Arm with its base vector instructions.
//
// A 16-byte register holds the table of one group; `tbl` looks up 16 outputs in it. Entries
// stay signed.
//
// Without gain they are added in 16 bits, 252 at a time: 252 * 128 < 2^15. With gain two
// products of at most 128 * 64 share 16 bits before they move to int32.
#include <arm_neon.h>

#include "conv_lut16/level.h"

namespace subbyte::conv_lut16 {
namespace {

int group_major(int j, int c) { return j * kWords + c; }
int code_lane(int o, int j) { return j * kLanes + o; }
int plain_code(int, int c) { return c; }
int8x16_t load_entries(const uint8_t *table) { return vreinterpretq_s8_u8(vld1q_u8(table)); }

// One group of one pixel. Additions wrap, but the codebook's limits keep the result in int16.
void build_group(const TableJob &job, const uint8_t *x, const int8_t *words,
                 const int16_t *start, uint8_t *table) {
  const int16x8_t shift = vdupq_n_s16(static_cast<int16_t>(-job.shift));
  int16x8_t low = vld1q_s16(start), high = vld1q_s16(start + 8);
  for (int i = 0; i < job.word_length; ++i) {
    const int8x16_t word = vld1q_s8(words + i * kWords);
    low = vmlaq_n_s16(low, vmovl_s8(vget_low_s8(word)), x[i]);
    high = vmlaq_n_s16(high, vmovl_high_s8(word), x[i]);
  }
  // Shifting left by a negative count shifts right and rounds down.
  const int8x8_t first = vqmovn_s16(vshlq_s16(low, shift));
  vst1q_u8(table, vreinterpretq_u8_s8(vqmovn_high_s16(first, vshlq_s16(high, shift))));
}

void build(const TableJob &job) {
  const int64_t groups = job.vectors * kVectorGroups;
  for (int64_t pixel = 0; pixel < job.count; ++pixel) {
    const uint8_t *x = job.x + pixel * job.x_stride;
    uint8_t *table = job.tables + pixel * job.table_stride;
    for (int64_t group = 0; group < groups; ++group) {
      build_group(job, x + group * job.word_length,
                  job.codebook + group * job.word_length * kWords, job.start + group * kWords,
                  table + group * kWords);
    }
  }
}

// Eight int16 sums into eight int32 ones.
void add_to(int32_t *acc, int16x8_t sums) {
  vst1q_s32(acc, vaddw_s16(vld1q_s32(acc), vget_low_s16(sums)));
  vst1q_s32(acc + 4, vaddw_high_s16(vld1q_s32(acc + 4), sums));
}

template <int kPixels>
struct ShortSums {
  int16x8_t low[kPixels], high[kPixels];

  void clear() {
    for (int p = 0; p < kPixels; ++p) low[p] = high[p] = vdupq_n_s16(0);
  }

  // One group of every output.
  void add(const uint8_t *const *tables, int64_t at, uint8x16_t codes) {
    for (int p = 0; p < kPixels; ++p) {
      const int8x16_t entry = vqtbl1q_s8(load_entries(tables[p] + at), codes);
      low[p] = vaddw_s8(low[p], vget_low_s8(entry));
      high[p] = vaddw_high_s8(high[p], entry);
    }
  }

  void move_to(int32_t *acc) {
    for (int p = 0; p < kPixels; ++p) {
      add_to(acc + p * kLanes, low[p]);
      add_to(acc + p * kLanes + 8, high[p]);
    }
    clear();
  }
};

template <int kPixels>
void accumulate_plain(const Tile &tile) {
  constexpr int64_t kFlush = 63;  // vectors, of four look-ups
  for (int p = 0; p < kPixels; ++p) {
    for (int o = 0; o < kLanes; ++o) tile.acc[p * kLanes + o] = tile.start[o];
  }
  ShortSums<kPixels> sums;
  sums.clear();
  int64_t room = kFlush;
  const uint8_t *codes = tile.codes;
  for (int64_t tap = 0; tap < tile.taps; ++tap) {
    const uint8_t *tables[kPixels];
    for (int p = 0; p < kPixels; ++p) tables[p] = tile.tables[p] + tile.tap_offsets[tap];
    for (int64_t vector = 0; vector < tile.vectors; ++vector) {
      for (int j = 0; j < kVectorGroups; ++j, codes += kLanes) {
        sums.add(tables, vector * kVectorBytes + j * kWords, vld1q_u8(codes));
      }
      if (--room == 0) {
        sums.move_to(tile.acc);
        room = kFlush;
      }
    }
  }
  sums.move_to(tile.acc);
}

// Sixteen int32 sums.
struct Sums {
  int32x4_t part[4];

  void add(int16x8_t low, int16x8_t high) {
    part[0] = vaddw_s16(part[0], vget_low_s16(low));
    part[1] = vaddw_high_s16(part[1], low);
    part[2] = vaddw_s16(part[2], vget_low_s16(high));
    part[3] = vaddw_high_s16(part[3], high);
  }
};

template <int kPixels>
void accumulate_gain(const Tile &tile) {
  Sums sums[kPixels];
  for (Sums &sum : sums) {
    for (int i = 0; i < 4; ++i) sum.part[i] = vld1q_s32(tile.start + 4 * i);
  }
  const uint8_t *codes = tile.codes;
  const int8_t *gains = tile.gains;
  for (int64_t tap = 0; tap < tile.taps; ++tap) {
    for (int64_t pair = 0; pair < tile.vectors * kVectorGroups; pair += 2) {
      const uint8x16_t code[2] = {vld1q_u8(codes), vld1q_u8(codes + kLanes)};
      const int8x16_t gain[2] = {vld1q_s8(gains), vld1q_s8(gains + kLanes)};
      codes += 2 * kLanes;
      gains += 2 * kLanes;
      for (int p = 0; p < kPixels; ++p) {
        const uint8_t *table = tile.tables[p] + tile.tap_offsets[tap] + pair * kWords;
        const int8x16_t first = vqtbl1q_s8(load_entries(table), code[0]);
        const int8x16_t second = vqtbl1q_s8(load_entries(table + kWords), code[1]);
        int16x8_t low = vmull_s8(vget_low_s8(first), vget_low_s8(gain[0]));
        int16x8_t high = vmull_high_s8(first, gain[0]);
        low = vmlal_s8(low, vget_low_s8(second), vget_low_s8(gain[1]));
        high = vmlal_high_s8(high, second, gain[1]);
        sums[p].add(low, high);
      }
    }
  }
  for (int p = 0; p < kPixels; ++p) {
    for (int i = 0; i < 4; ++i) vst1q_s32(tile.acc + p * kLanes + 4 * i, sums[p].part[i]);
  }
}

Accumulate choose(Gain gain, int, int pixels) {
  static constexpr Accumulate kPlain[8] = {
      accumulate_plain<1>, accumulate_plain<2>, accumulate_plain<3>, accumulate_plain<4>,
      accumulate_plain<5>, accumulate_plain<6>, accumulate_plain<7>, accumulate_plain<8>};
  static constexpr Accumulate kGain[4] = {accumulate_gain<1>, accumulate_gain<2>,
                                          accumulate_gain<3>, accumulate_gain<4>};
  return gain != kNoGain ? kGain[pixels - 1] : kPlain[pixels - 1];
}

}  // namespace

extern const Level kNeon = {
    "neon",
    1,
    1,
    0,
    {{8, 0, 0, 0}, {4, 0, 0, 0}},
    {false, false},
    group_major,
    code_lane,
    code_lane,
    plain_code,
    build,
    choose,
};

}  // namespace subbyte::conv_lut16
