// Look-ups in 32 to 256 words for 64-bit Arm with its base vector instructions.
//
// `tbx` looks 16 codes up in the 32 entries of two registers, and leaves a byte as it is where
// the code is 32 or more. A larger table is looked up part by part, the codes counted down by
// 32 from one to the next: a code finds its own part alone. Entries stay signed.
//
// Without gain they are added in 16 bits, kFlush vectors of four: 252 * 128 < 2^15. With gain
// two products of at most 128 * 64 share 16 bits before they move to int32.
#include <arm_neon.h>

#include "conv_lut256/level.h"

namespace subbyte::conv_lut256 {
namespace {

constexpr int kLanes = 16;
constexpr int kPart = 32;  // entries of two registers
constexpr int kPixels = 4;
constexpr int64_t kFlush = 63;  // vectors

int plain_code(int, int, int c) { return c; }
int code_lane(int, bool, int o, int j) { return j * kLanes + o; }
int gain_lane(int o, int j) { return j * kLanes + o; }
int most_cells(int, bool) { return 1; }
int most_pixels(int, bool, int) { return kPixels; }

// A unit of words of one group. Additions wrap, but the codebook's limits keep the result in
// int16.
void build_unit(const TableJob &job, const uint8_t *x, int64_t unit, uint8_t *table) {
  const int16x8_t shift = vdupq_n_s16(static_cast<int16_t>(-job.shift));
  const int8_t *words = job.codebook + unit * job.word_length * kUnit;
  const int16_t *start = job.start + unit * kUnit;
  int16x8_t low = vld1q_s16(start), high = vld1q_s16(start + 8);
  for (int i = 0; i < job.word_length; ++i) {
    const int8x16_t word = vld1q_s8(words + i * kUnit);
    low = vmlaq_n_s16(low, vmovl_s8(vget_low_s8(word)), x[i]);
    high = vmlaq_n_s16(high, vmovl_high_s8(word), x[i]);
  }
  // Shifting left by a negative count shifts right and rounds down.
  const int8x8_t first = vqmovn_s16(vshlq_s16(low, shift));
  vst1q_u8(table + unit * kUnit,
           vreinterpretq_u8_s8(vqmovn_high_s16(first, vshlq_s16(high, shift))));
}

void build(const TableJob &job) {
  const int units = job.words / kUnit;
  for (int64_t pixel = 0; pixel < job.count; ++pixel) {
    const uint8_t *x = job.x + pixel * job.x_stride;
    uint8_t *table = job.tables + pixel * job.table_stride;
    for (int64_t group = 0; group < job.vectors * kVectorGroups; ++group) {
      for (int unit = 0; unit < units; ++unit) {
        build_unit(job, x + group * job.word_length, group * units + unit, table);
      }
    }
  }
}

// The entries of 16 codes in one group's table of each pixel.
template <int kCount>
void look_up(const uint8_t *const *tables, ptrdiff_t at, int words, uint8x16_t code,
             int8x16_t entry[kCount]) {
  for (int p = 0; p < kCount; ++p) entry[p] = vdupq_n_s8(0);
  for (int k = 0; k < words; k += kPart) {
    for (int p = 0; p < kCount; ++p) {
      const int8_t *from = reinterpret_cast<const int8_t *>(tables[p]) + at + k;
      entry[p] = vqtbx2q_s8(entry[p], {{vld1q_s8(from), vld1q_s8(from + 16)}}, code);
    }
    code = vsubq_u8(code, vdupq_n_u8(kPart));
  }
}

// Eight int16 sums into eight int32 ones.
void add_to(int32_t *acc, int16x8_t sums) {
  vst1q_s32(acc, vaddw_s16(vld1q_s32(acc), vget_low_s16(sums)));
  vst1q_s32(acc + 4, vaddw_high_s16(vld1q_s32(acc + 4), sums));
}

template <int kCount>
struct ShortSums {
  int16x8_t low[kCount], high[kCount];

  void clear() {
    for (int p = 0; p < kCount; ++p) low[p] = high[p] = vdupq_n_s16(0);
  }

  // One group of every output.
  void add(const uint8_t *const *tables, ptrdiff_t at, int words, const uint8_t *codes) {
    int8x16_t entry[kCount];
    look_up<kCount>(tables, at, words, vld1q_u8(codes), entry);
    for (int p = 0; p < kCount; ++p) {
      low[p] = vaddw_s8(low[p], vget_low_s8(entry[p]));
      high[p] = vaddw_high_s8(high[p], entry[p]);
    }
  }

  void move_to(int32_t *acc) {
    for (int p = 0; p < kCount; ++p) {
      add_to(acc + p * kLanes, low[p]);
      add_to(acc + p * kLanes + 8, high[p]);
    }
    clear();
  }
};

template <int kCount>
void set_start(const Tile &tile) {
  for (int i = 0; i < kCount * kLanes; ++i) tile.acc[i] = tile.start[i % kLanes];
}

template <int kCount>
void accumulate_plain(const Tile &tile) {
  set_start<kCount>(tile);
  ShortSums<kCount> sums;
  sums.clear();
  int64_t room = kFlush;
  const uint8_t *codes = tile.codes;
  for (int64_t step = 0; step < tile.steps; ++step) {
    const ptrdiff_t at = tile.offsets[step];
    for (int j = 0; j < kVectorGroups; ++j, codes += kLanes) {
      sums.add(tile.tables, at + j * tile.words, tile.words, codes);
    }
    if (--room == 0) {
      sums.move_to(tile.acc);
      room = kFlush;
    }
  }
  sums.move_to(tile.acc);
}

// Products of two groups with their gains, moved to the sums of 16 outputs.
void add_products(int32_t *acc, int8x16_t first, int8x16_t second, const int8_t *gains) {
  const int8x16_t gain[2] = {vld1q_s8(gains), vld1q_s8(gains + kLanes)};
  int16x8_t low = vmull_s8(vget_low_s8(first), vget_low_s8(gain[0]));
  int16x8_t high = vmull_high_s8(first, gain[0]);
  low = vmlal_s8(low, vget_low_s8(second), vget_low_s8(gain[1]));
  high = vmlal_high_s8(high, second, gain[1]);
  add_to(acc, low);
  add_to(acc + 8, high);
}

template <int kCount>
void accumulate_gain(const Tile &tile) {
  set_start<kCount>(tile);
  const uint8_t *codes = tile.codes;
  const int8_t *gains = tile.gains;
  for (int64_t step = 0; step < tile.steps; ++step) {
    const ptrdiff_t at = tile.offsets[step];
    for (int j = 0; j < kVectorGroups; j += 2) {
      int8x16_t first[kCount], second[kCount];
      look_up<kCount>(tile.tables, at + j * tile.words, tile.words, vld1q_u8(codes), first);
      look_up<kCount>(tile.tables, at + (j + 1) * tile.words, tile.words,
                      vld1q_u8(codes + kLanes), second);
      for (int p = 0; p < kCount; ++p) {
        add_products(tile.acc + p * kLanes, first[p], second[p], gains);
      }
      codes += 2 * kLanes;
      gains += 2 * kLanes;
    }
  }
}

Accumulate choose(int, bool gain, int, int pixels) {
  static constexpr Accumulate kTiles[2][kPixels] = {
      {accumulate_plain<1>, accumulate_plain<2>, accumulate_plain<3>, accumulate_plain<4>},
      {accumulate_gain<1>, accumulate_gain<2>, accumulate_gain<3>, accumulate_gain<4>},
  };
  return kTiles[gain ? 1 : 0][pixels - 1];
}

}  // namespace

extern const Level kNeon = {
    "neon",    1,     kLanes,     false,       plain_code, code_lane,
    gain_lane, build, most_cells, most_pixels, choose,
};

}  // namespace subbyte::conv_lut256
