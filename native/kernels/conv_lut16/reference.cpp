// The look-up kernels as plain loops: what every other level must equal, bit for bit.
#include "conv_lut16/level.h"

namespace subbyte::conv_lut16 {
namespace {

int group_major(int j, int c) { return j * kWords + c; }
int output_major(int o, int j) { return o * kVectorGroups + j; }
int plain_code(int, int c) { return c; }
void build(const TableJob &job) {
  const int d = job.word_length;
  for (int64_t pixel = 0; pixel < job.count; ++pixel) {
    const uint8_t *x = job.x + pixel * job.x_stride;
    uint8_t *table = job.tables + pixel * job.table_stride;
    for (int64_t group = 0; group < job.vectors * kVectorGroups; ++group) {
      for (int c = 0; c < kWords; ++c) {
        int32_t sum = job.start[group * kWords + c];
        for (int i = 0; i < d; ++i) {
          sum += job.codebook[(group * d + i) * kWords + c] * x[group * d + i];
        }
        int32_t entry = sum >> job.shift;
        entry = entry < -128 ? -128 : entry > 127 ? 127 : entry;
        table[group * kWords + c] = static_cast<uint8_t>(entry) ^ job.flip;
      }
    }
  }
}

template <bool kGain>
void accumulate(const Tile &tile) {
  for (int o = 0; o < kLanes; ++o) tile.acc[o] = tile.start[o];
  for (int64_t tap = 0; tap < tile.taps; ++tap) {
    const uint8_t *table = tile.tables[0] + tile.tap_offsets[tap];
    for (int64_t vector = 0; vector < tile.vectors; ++vector) {
      const int64_t base = (tap * tile.vectors + vector) * kVectorBytes;
      for (int o = 0; o < kLanes; ++o) {
        for (int j = 0; j < kVectorGroups; ++j) {
          const int64_t at = base + output_major(o, j);
          const int code = tile.codes[at];
          const auto entry =
              static_cast<int8_t>(table[vector * kVectorBytes + group_major(j, code)]);
          tile.acc[o] += (kGain ? tile.gains[at] : 1) * entry;
        }
      }
    }
  }
}

Accumulate choose(Gain gain, int, int) { return gain != kNoGain ? accumulate<true> : accumulate<false>; }

}  // namespace

extern const Level kReference = {
    "reference",
    1,
    1,
    0,
    {{1, 0, 0, 0}, {1, 0, 0, 0}},
    {false, false},
    group_major,
    output_major,
    output_major,
    plain_code,
    build,
    choose,
};

}  // namespace subbyte::conv_lut16
