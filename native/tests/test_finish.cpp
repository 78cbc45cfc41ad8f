// The last stage, from sums to y.
#include <algorithm>

#include "check.h"
#include "finish/levels.h"
#include "layers.h"

namespace {

using namespace subbyte::finish;
using layers::Aligned;
using layers::pick;
using layers::Random;

constexpr int kLanes = 16;  // sums of a pixel come in multiples

TEST(every_level_equals_the_reference) {
  Random random(2);
  for (int i = 0; i < 300; ++i) {
    const int pixels = pick(random, 1, 8), blocks = pick(random, 1, 4);
    const int channels = pick(random, 1, blocks * kLanes);
    const int readable = (pixels - 1) * blocks * kLanes + kMaxChannels;
    Aligned acc(sizeof(int32_t) * static_cast<size_t>(readable));
    auto *sums = static_cast<int32_t *>(acc.data());
    for (int k = 0; k < pixels * blocks * kLanes; ++k) sums[k] = pick(random, -70000000, 70000000);
    std::vector<float> scale, bias;
    for (int o = 0; o < channels; ++o) {
      scale.push_back(static_cast<float>(pick(random, -100, 100)) * 1e-7F);
      bias.push_back(static_cast<float>(pick(random, -1000, 1000)) * 0.125F);
    }
    const auto count = static_cast<size_t>(pixels * channels);
    std::vector<uint8_t> residual(count);
    for (uint8_t &r : residual) r = static_cast<uint8_t>(pick(random, 0, 255));
    subbyte_output output = {};
    output.type = i % 3;
    output.scale = scale.data();
    output.bias = bias.data();
    output.residual = pick(random, 0, 1) == 0 ? nullptr : residual.data();
    output.residual_scale = 0.3F;
    output.residual_zero = pick(random, 0, 255);
    output.inner_scale = static_cast<float>(pick(random, 0, 1)) * 0.7F;
    output.inner_zero = pick(random, 0, 255);
    output.zero = pick(random, 0, 255);
    output.low = pick(random, 0, 100);
    output.high = pick(random, 100, 255);
    std::vector<uint8_t> table(256);
    for (uint8_t &entry : table) entry = static_cast<uint8_t>(pick(random, 0, 255));
    if (output.type == SUBBYTE_UINT8 && pick(random, 0, 1) == 1) output.table = table.data();
    std::vector<uint8_t> expected;
    for (const Level *level : kLevels) {
      if (kLevels.at(level->name) != level) continue;
      std::vector<uint8_t> y(count * 4);
      level->run(
          {&output, sums, false, blocks * kLanes, pixels, channels, 0, 0, channels, y.data()});
      if (expected.empty()) expected = y;
      CHECK(y == expected);
    }
  }
}

// Every code and every number of channels, beside bytes that stay as they are.
TEST(a_table_gives_a_function_of_the_code) {
  Random random(3);
  std::vector<uint8_t> table(256);
  for (uint8_t &entry : table) entry = static_cast<uint8_t>(pick(random, 0, 255));
  constexpr int kPixels = 5, kStride = kMaxChannels + 1;
  Aligned acc(sizeof(int32_t) * kPixels * kMaxChannels);
  auto *sums = static_cast<int32_t *>(acc.data());
  for (int i = 0; i < kPixels * kMaxChannels; ++i) sums[i] = i - 10;
  const std::vector<float> scale(kMaxChannels, 1), bias(kMaxChannels, 0);
  for (int channels = 1; channels <= kMaxChannels; ++channels) {
    subbyte_output output = {};
    output.scale = scale.data();
    output.bias = bias.data();
    output.high = 255;
    output.table = table.data();
    std::vector<uint8_t> expected(kPixels * kStride, 99);
    for (int i = 0; i < kPixels * kMaxChannels; ++i) {
      const int code = std::min(std::max(sums[i], 0), 255), channel = i % kMaxChannels;
      if (channel >= channels) continue;
      expected[static_cast<size_t>(i / kMaxChannels * kStride + channel)] =
          table[static_cast<size_t>(code)];
    }
    for (const Level *level : kLevels) {
      if (kLevels.at(level->name) != level) continue;
      std::vector<uint8_t> y(expected.size(), 99);
      level->run({&output, sums, false, kMaxChannels, kPixels, channels, 0, 0, kStride, y.data()});
      CHECK(y == expected);
    }
  }
}

}  // namespace

int main(int argc, char **argv) { return check::main(argc, argv); }
