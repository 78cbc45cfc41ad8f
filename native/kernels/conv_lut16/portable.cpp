// Look-up kernels in standard C++: for any CPU, arranged so that compilers vectorise the
// build and the finish, and that codes are read once for several pixels.
#include "conv_lut16/level.h"

namespace subbyte::conv_lut16 {
namespace {

int group_major(int j, int c) { return j * kWords + c; }
int code_lane(int o, int j) { return j * kLanes + o; }
int plain_code(int, int c) { return c; }
void build(const TableJob &job) {
  const int d = job.word_length;
  for (int64_t pixel = 0; pixel < job.count; ++pixel) {
    const uint8_t *x = job.x + pixel * job.x_stride;
    uint8_t *table = job.tables + pixel * job.table_stride;
    const int8_t *word = job.codebook;
    for (int64_t group = 0; group < job.vectors * kVectorGroups; ++group) {
      int32_t sum[kWords];
      for (int c = 0; c < kWords; ++c) sum[c] = job.start[group * kWords + c];
      for (int i = 0; i < d; ++i, word += kWords) {
        for (int c = 0; c < kWords; ++c) sum[c] += word[c] * x[group * d + i];
      }
      for (int c = 0; c < kWords; ++c) {
        int32_t entry = sum[c] >> job.shift;
        entry = entry < -128 ? -128 : entry;
        entry = entry > 127 ? 127 : entry;
        table[group * kWords + c] = static_cast<uint8_t>(entry);
      }
    }
  }
}

template <bool kGain, int kPixels>
void accumulate(const Tile &tile) {
  int32_t acc[kPixels][kLanes];
  for (int p = 0; p < kPixels; ++p) {
    for (int o = 0; o < kLanes; ++o) acc[p][o] = tile.start[o];
  }
  const uint8_t *codes = tile.codes;
  const int8_t *gains = tile.gains;
  for (int64_t tap = 0; tap < tile.taps; ++tap) {
    const int64_t groups = tile.vectors * kVectorGroups;
    for (int64_t group = 0; group < groups; ++group, codes += kLanes, gains += kLanes) {
      const int8_t *table[kPixels];
      for (int p = 0; p < kPixels; ++p) {
        table[p] = reinterpret_cast<const int8_t *>(tile.tables[p]) + tile.tap_offsets[tap] +
                   group * kWords;
      }
      for (int o = 0; o < kLanes; ++o) {
        for (int p = 0; p < kPixels; ++p) {
          acc[p][o] += kGain ? gains[o] * table[p][codes[o]] : table[p][codes[o]];
        }
      }
    }
  }
  for (int p = 0; p < kPixels; ++p) {
    for (int o = 0; o < kLanes; ++o) tile.acc[p * kLanes + o] = acc[p][o];
  }
}

Accumulate choose(Gain gain, int, int pixels) {
  static constexpr Accumulate kTiles[2][4] = {
      {accumulate<false, 1>, accumulate<false, 2>, accumulate<false, 3>, accumulate<false, 4>},
      {accumulate<true, 1>, accumulate<true, 2>, accumulate<true, 3>, accumulate<true, 4>},
  };
  return kTiles[gain ? 1 : 0][pixels - 1];
}

}  // namespace

extern const Level kPortable = {
    "portable",
    1,
    1,
    0,
    {{4, 0, 0, 0}, {4, 0, 0, 0}},
    {false, false},
    group_major,
    code_lane,
    code_lane,
    plain_code,
    build,
    choose,
};

}  // namespace subbyte::conv_lut16
