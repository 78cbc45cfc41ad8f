// The kernels as plain loops: what every other level must equal, bit for bit.
#include "conv_lut256/level.h"

namespace subbyte::conv_lut256 {
namespace {

constexpr int kLanes = 16;

int plain_code(int, int, int c) { return c; }
int code_lane(int, bool, int o, int j) { return o * kVectorGroups + j; }
int gain_lane(int o, int j) { return o * kVectorGroups + j; }
int one_cell(int, bool) { return 1; }
int one_pixel(int, bool, int) { return 1; }

void build(const TableJob &job) {
  const int d = job.word_length;
  for (int64_t pixel = 0; pixel < job.count; ++pixel) {
    const uint8_t *x = job.x + pixel * job.x_stride;
    uint8_t *table = job.tables + pixel * job.table_stride;
    for (int64_t group = 0; group < job.vectors * kVectorGroups; ++group) {
      for (int c = 0; c < job.words; ++c) {
        const int64_t word = group * job.words + c;
        int32_t sum = job.start[word];
        for (int i = 0; i < d; ++i) {
          const int8_t value = job.codebook[(word / kUnit * d + i) * kUnit + word % kUnit];
          sum += value * x[group * d + i];
        }
        int32_t entry = sum >> job.shift;
        entry = entry < -128 ? -128 : entry > 127 ? 127 : entry;
        table[word] = static_cast<uint8_t>(entry) ^ job.flip;
      }
    }
  }
}

template <bool kGain>
void accumulate(const Tile &tile) {
  for (int o = 0; o < kLanes; ++o) tile.acc[o] = tile.start[o];
  for (int64_t step = 0; step < tile.steps; ++step) {
    const uint8_t *table = tile.tables[0] + tile.offsets[step];
    for (int o = 0; o < kLanes; ++o) {
      for (int j = 0; j < kVectorGroups; ++j) {
        const int64_t at = step * kLanes * kVectorGroups + gain_lane(o, j);
        const auto entry = static_cast<int8_t>(table[j * tile.words + tile.codes[at]]);
        tile.acc[o] += (kGain ? tile.gains[at] : 1) * entry;
      }
    }
  }
}

Accumulate choose(int, bool gain, int, int) { return gain ? accumulate<true> : accumulate<false>; }

}  // namespace

extern const Level kReference = {
    "reference", 1,     kLanes,   false,     plain_code, code_lane,
    gain_lane,   build, one_cell, one_pixel, choose,
};

}  // namespace subbyte::conv_lut256
