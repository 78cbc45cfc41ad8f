// Pack weights into the layout of a level. Done once, so plain loops for all levels.
#include <algorithm>
#include <cstring>

#include "conv_int8/plan.h"

namespace subbyte::conv_int8 {
namespace {

// The weight of a channel, at a tap, in the layout of Depthwise::weights.
void put_depthwise(const Plan &plan, int64_t channel, int64_t tap, int8_t weight, char *to) {
  const int taps = plan.level->depthwise_taps;
  if (taps == 1) {
    reinterpret_cast<int16_t *>(to)[tap * plan.chunks * kChannels + channel] = weight;
    return;
  }
  const int64_t chunk = tap / plan.step_taps * plan.chunks + channel / kChannels;
  const int lane = plan.level->depthwise_lane(static_cast<int>(channel % kChannels));
  to[(chunk * kChannels + lane) * taps + tap % plan.step_taps] = static_cast<char>(weight);
}

// The weights, and start = -input_zero * sum of the weights.
void pack_depthwise(const subbyte_conv_int8 &layer, const Plan &plan, const int8_t *weights,
                    char *packed) {
  auto *start = reinterpret_cast<int32_t *>(packed + plan.start);
  for (int64_t channel = 0; channel < layer.geometry.inputs; ++channel) {
    for (int64_t tap = 0; tap < plan.taps; ++tap) {
      const int8_t weight = weights[channel * plan.taps + tap];
      put_depthwise(plan, channel, tap, weight, packed + plan.weights);
      start[channel] -= layer.input_zero * weight;
    }
  }
}

// [block of the level][tap][step][kLanes of the block][quad].
template <typename Element>
void pack_group(const subbyte_conv_int8 &layer, const Plan &plan, const int8_t *weights,
                int32_t *start, Element *to) {
  const int quad = plan.level->quad;
  for (int64_t first = 0; first < plan.lane_blocks; first += plan.level->blocks) {
    const int64_t blocks = std::min<int64_t>(plan.level->blocks, plan.lane_blocks - first);
    for (int64_t tap = 0; tap < plan.taps; ++tap) {
      for (int64_t step = 0; step < plan.steps; ++step) {
        for (int64_t lane = 0; lane < blocks * kLanes; ++lane) {
          const int64_t o = first * kLanes + lane;
          for (int64_t i = step * quad; i < (step + 1) * quad; ++i, ++to) {
            if (o >= plan.outputs || i >= plan.channels) continue;
            const int8_t weight = weights[(o * plan.taps + tap) * plan.channels + i];
            *to = weight;
            start[o] -= (layer.input_zero - plan.level->offset) * weight;
          }
        }
      }
    }
  }
}

}  // namespace

int pack(const subbyte_conv_int8 &layer, const Plan &plan, const int8_t *weights, void *packed) {
  auto *base = static_cast<char *>(packed);
  std::memset(base, 0, plan.packed_size);
  const Header header = header_of(layer, *plan.level);
  std::memcpy(base, &header, sizeof header);
  if (plan.depthwise) {
    pack_depthwise(layer, plan, weights, base);
    return SUBBYTE_OK;
  }
  for (int64_t group = 0; group < layer.geometry.groups; ++group) {
    const auto at = static_cast<size_t>(group);
    auto *start = reinterpret_cast<int32_t *>(base + plan.start + at * plan.start_step);
    char *to = base + plan.weights + at * plan.weights_step;
    const int8_t *from = weights + group * plan.outputs * plan.taps * plan.channels;
    if (plan.level->element == 1) {
      pack_group(layer, plan, from, start, reinterpret_cast<int8_t *>(to));
    } else {
      pack_group(layer, plan, from, start, reinterpret_cast<int16_t *>(to));
    }
  }
  return SUBBYTE_OK;
}

}  // namespace subbyte::conv_int8
