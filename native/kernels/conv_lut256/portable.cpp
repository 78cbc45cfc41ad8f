// The kernels in standard C++: for any CPU, arranged so that compilers vectorise the build,
// and that codes are read once for several pixels.
#include "conv_lut256/level.h"

namespace subbyte::conv_lut256 {
namespace {

constexpr int kLanes = 16;
constexpr int kPixels = 4;

int plain_code(int, int, int c) { return c; }
int code_lane(int, bool, int o, int j) { return j * kLanes + o; }
int gain_lane(int o, int j) { return j * kLanes + o; }
int most_cells(int, bool) { return 1; }
int most_pixels(int, bool, int) { return kPixels; }

// kUnit words of a channel group.
void build_unit(const TableJob &job, const uint8_t *x, int64_t unit, uint8_t *table) {
  const int8_t *word = job.codebook + unit * job.word_length * kUnit;
  int32_t sum[kUnit];
  for (int c = 0; c < kUnit; ++c) sum[c] = job.start[unit * kUnit + c];
  for (int i = 0; i < job.word_length; ++i, word += kUnit) {
    for (int c = 0; c < kUnit; ++c) sum[c] += word[c] * x[i];
  }
  for (int c = 0; c < kUnit; ++c) {
    int32_t entry = sum[c] >> job.shift;
    entry = entry < -128 ? -128 : entry;
    entry = entry > 127 ? 127 : entry;
    table[unit * kUnit + c] = static_cast<uint8_t>(entry);
  }
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

// One group of every output.
template <bool kGain, int kCount>
void add(const Tile &tile, ptrdiff_t at, const uint8_t *codes, const int8_t *gains,
         int32_t acc[kCount][kLanes]) {
  const int8_t *table[kCount];
  for (int p = 0; p < kCount; ++p) table[p] = reinterpret_cast<const int8_t *>(tile.tables[p]) + at;
  for (int o = 0; o < kLanes; ++o) {
    for (int p = 0; p < kCount; ++p) {
      acc[p][o] += kGain ? gains[o] * table[p][codes[o]] : table[p][codes[o]];
    }
  }
}

template <bool kGain, int kCount>
void accumulate(const Tile &tile) {
  int32_t acc[kCount][kLanes];
  for (int p = 0; p < kCount; ++p) {
    for (int o = 0; o < kLanes; ++o) acc[p][o] = tile.start[o];
  }
  const uint8_t *codes = tile.codes;
  const int8_t *gains = tile.gains;
  for (int64_t step = 0; step < tile.steps; ++step) {
    const ptrdiff_t at = tile.offsets[step];
    for (int j = 0; j < kVectorGroups; ++j, codes += kLanes, gains += kLanes) {
      add<kGain, kCount>(tile, at + j * tile.words, codes, gains, acc);
    }
  }
  for (int p = 0; p < kCount; ++p) {
    for (int o = 0; o < kLanes; ++o) tile.acc[p * kLanes + o] = acc[p][o];
  }
}

Accumulate choose(int, bool gain, int, int pixels) {
  static constexpr Accumulate kTiles[2][kPixels] = {
      {accumulate<false, 1>, accumulate<false, 2>, accumulate<false, 3>, accumulate<false, 4>},
      {accumulate<true, 1>, accumulate<true, 2>, accumulate<true, 3>, accumulate<true, 4>},
  };
  return kTiles[gain ? 1 : 0][pixels - 1];
}

}  // namespace

extern const Level kPortable = {
    "portable", 1,     kLanes,     false,       plain_code, code_lane,
    gain_lane,  build, most_cells, most_pixels, choose,
};

}  // namespace subbyte::conv_lut256
