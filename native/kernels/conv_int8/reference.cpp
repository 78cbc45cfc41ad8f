// The definition in plain loops: one pixel, one output at a time.
#include "conv_int8/level.h"

namespace subbyte::conv_int8 {
namespace {

void accumulate(const Tile &tile) {
  const auto *weights = static_cast<const int8_t *>(tile.weights);
  for (int o = 0; o < kLanes; ++o) {
    // Unsigned: a sum may pass int32 on its way to a result within it.
    auto sum = static_cast<uint32_t>(tile.start[o]);
    for (int64_t tap = 0; tap < tile.taps; ++tap) {
      const uint8_t *x = tile.pixels[0] + tile.tap_offsets[tap];
      for (int64_t i = 0; i < tile.steps; ++i) {
        const int weight = weights[(tap * tile.steps + i) * kLanes + o];
        sum += static_cast<uint32_t>(weight * x[i]);
      }
    }
    tile.acc[o] = static_cast<int32_t>(sum);
  }
}

Accumulate choose(int, int) { return accumulate; }

int weight_of(const Depthwise &job, int64_t tap, int c) {
  const char *step = static_cast<const char *>(job.weights) + tap * job.weight_stride;
  return reinterpret_cast<const int16_t *>(step)[c];
}

void depthwise(const Depthwise &job) {
  for (int pixel = 0; pixel < job.count; ++pixel) {
    for (int c = 0; c < kChannels; ++c) {
      auto sum = static_cast<uint32_t>(job.start[c]);
      for (int64_t tap = 0; tap < job.steps; ++tap) {
        const int x = job.x[pixel * job.pixel_stride + job.tap_offsets[tap] + c];
        sum += static_cast<uint32_t>(x * weight_of(job, tap, c));
      }
      job.acc[pixel * kChannels + c] = static_cast<int32_t>(sum);
    }
  }
}

}  // namespace

extern const Level kReference = {"reference", 1, 1, 0, 1, {1, 0, 0, 0}, choose, depthwise,
                                 1, nullptr};

}  // namespace subbyte::conv_int8
