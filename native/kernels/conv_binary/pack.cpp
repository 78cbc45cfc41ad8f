// Pack weights into the layout of a level. Done once, so plain loops for all levels.
#include <algorithm>
#include <cstring>

#include "conv_binary/plan.h"

namespace subbyte::conv_binary {
namespace {

// Where word `step` of a block of `lanes` outputs begins: [blocks of the level][step][block].
int64_t place(const Plan &plan, int64_t lane_block, int64_t step) {
  const int64_t most = plan.level->blocks;
  const int64_t first = lane_block / most * most;
  const int64_t blocks = std::min(most, plan.lane_blocks - first);
  return (first * plan.steps + step * blocks + lane_block - first) * plan.level->block_bytes;
}

void pack_output(const Plan &plan, const uint8_t *signs, int64_t row, int64_t o, uint8_t *to) {
  const Level &level = *plan.level;
  const int lane = static_cast<int>(o % level.lanes);
  int64_t at = row * plan.taps * plan.channels;
  for (int64_t tap = 0; tap < plan.taps; ++tap) {
    for (int64_t i = 0; i < plan.channels; ++i, ++at) {
      if ((signs[at / 8] >> (at % 8) & 1) == 0) continue;
      uint8_t *block = to + place(plan, o / level.lanes, tap * plan.words + i / kWord);
      const int bit = level.weight_bit(lane, static_cast<int>(i % kWord));
      block[bit / 8] = static_cast<uint8_t>(block[bit / 8] | 1 << bit % 8);
    }
  }
}

}  // namespace

int pack(const subbyte_conv_binary &layer, const Plan &plan, const uint8_t *signs, void *packed) {
  auto *base = static_cast<uint8_t *>(packed);
  std::memset(base, 0, plan.packed_size);
  const Header header = header_of(layer, *plan.level);
  std::memcpy(base, &header, sizeof header);
  for (int64_t group = 0; group < layer.geometry.groups; ++group) {
    uint8_t *to = base + plan.weights + static_cast<size_t>(group) * plan.weights_step;
    for (int64_t o = 0; o < plan.outputs; ++o) {
      pack_output(plan, signs, group * plan.outputs + o, o, to);
    }
  }
  return SUBBYTE_OK;
}

}  // namespace subbyte::conv_binary
