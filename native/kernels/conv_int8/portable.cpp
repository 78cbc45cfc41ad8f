// int8 kernels in standard C++, for any CPU: compilers vectorise the loops over outputs.
#include "conv_int8/level.h"

namespace subbyte::conv_int8 {
namespace {

template <int kPixels>
void accumulate(const Tile &tile) {
  uint32_t acc[kPixels][kLanes];
  for (int p = 0; p < kPixels; ++p) {
    for (int o = 0; o < kLanes; ++o) acc[p][o] = static_cast<uint32_t>(tile.start[o]);
  }
  const auto *weights = static_cast<const int8_t *>(tile.weights);
  for (int64_t tap = 0; tap < tile.taps; ++tap) {
    for (int64_t i = 0; i < tile.steps; ++i, weights += kLanes) {
      for (int p = 0; p < kPixels; ++p) {
        const int x = tile.pixels[p][tile.tap_offsets[tap] + i];
        for (int o = 0; o < kLanes; ++o) acc[p][o] += static_cast<uint32_t>(x * weights[o]);
      }
    }
  }
  for (int p = 0; p < kPixels; ++p) {
    for (int o = 0; o < kLanes; ++o) tile.acc[p * kLanes + o] = static_cast<int32_t>(acc[p][o]);
  }
}

Accumulate choose(int, int pixels) {
  static constexpr Accumulate kTiles[4] = {accumulate<1>, accumulate<2>, accumulate<3>,
                                           accumulate<4>};
  return kTiles[pixels - 1];
}

void depthwise(const Depthwise &job) {
  for (int pixel = 0; pixel < job.count; ++pixel) {
    uint32_t acc[kChannels];
    for (int c = 0; c < kChannels; ++c) acc[c] = static_cast<uint32_t>(job.start[c]);
    for (int64_t tap = 0; tap < job.steps; ++tap) {
      const uint8_t *x = job.x + pixel * job.pixel_stride + job.tap_offsets[tap];
      const char *step = static_cast<const char *>(job.weights) + tap * job.weight_stride;
      const auto *weights = reinterpret_cast<const int16_t *>(step);
      for (int c = 0; c < kChannels; ++c) acc[c] += static_cast<uint32_t>(x[c] * weights[c]);
    }
    for (int c = 0; c < kChannels; ++c) {
      job.acc[pixel * kChannels + c] = static_cast<int32_t>(acc[c]);
    }
  }
}

}  // namespace

extern const Level kPortable = {"portable", 1, 1, 0, 1, {4, 0, 0, 0}, choose, depthwise,
                                1, nullptr};

}  // namespace subbyte::conv_int8
