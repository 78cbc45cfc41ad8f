// Pack codes into units, in the order of the int8 level's plan. Done once: plain loops.
#include <algorithm>
#include <cstring>

#include "error.h"
#include "conv_int4/plan.h"

namespace subbyte::conv_int4 {
namespace {

using conv_int8::kLanes;

// Put code number `index` of a panel into its units, which are zero there: see level.h.
void put(uint8_t *units, int bits, int64_t index, int code) {
  uint8_t *unit = units + index / kUnit * bits * kVector + index % kVector;
  const auto vector = static_cast<int>(index % kUnit / kVector);
  const auto set = [&](int at, int value) {
    unit[at * kVector] = static_cast<uint8_t>(unit[at * kVector] | value);
  };
  if (bits == 4 || vector < 6) {
    set(vector / 2, code << (vector % 2 * bits));
  } else {
    set(vector - 6, (code & 3) << 6);
    set(2, code >> 2 << vector);
  }
}

struct Group {
  const uint8_t *codes;  // [outputs][taps][channels]
  const int8_t *levels;
  int32_t zero;  // input_zero less Level::offset
  int32_t *start;
};

// [tap][step][output of the block][quad].
void pack_panel(const Plan &plan, const Group &group, const Panel &part, int64_t first,
                int64_t lanes, uint8_t *to) {
  const int quad = plan.level->quad;
  int64_t index = 0;
  for (int64_t tap = part.tap; tap < part.tap + part.taps; ++tap) {
    for (int64_t step = part.step; step < part.step + part.steps; ++step) {
      for (int64_t o = first; o < first + lanes; ++o) {
        for (int64_t i = step * quad; i < (step + 1) * quad; ++i, ++index) {
          if (o >= plan.outputs || i >= plan.channels) continue;
          const int code = group.codes[(o * plan.taps + tap) * plan.channels + i];
          put(to, plan.bits, index, code);
          group.start[o] -= group.zero * group.levels[code];
        }
      }
    }
  }
}

void pack_group(const Plan &plan, const Group &group, uint8_t *to) {
  for (int64_t first = 0; first < plan.lane_blocks; first += plan.level->blocks) {
    const int64_t blocks = std::min<int64_t>(plan.level->blocks, plan.lane_blocks - first);
    for (int64_t i = 0; i < plan.panels(); ++i) {
      const Panel part = plan.panel_at(i);
      pack_panel(plan, group, part, first * kLanes, blocks * kLanes, to);
      to += plan.units(part, blocks) * plan.bits * kVector;
    }
  }
}

}  // namespace

int pack(const subbyte_conv_int4 &layer, const Plan &plan, const uint8_t *codes,
         const int8_t *levels, void *packed) {
  const int64_t size = plan.outputs * plan.taps * plan.channels;  // of a group
  const int count = 1 << plan.bits;
  for (int64_t i = 0; i < layer.geometry.groups * size; ++i) {
    if (codes[i] >= count) {
      return fail(SUBBYTE_BAD_DATA, "codes: expected less than %d, got %d at %lld", count,
                  codes[i], static_cast<long long>(i));
    }
  }
  auto *base = static_cast<char *>(packed);
  std::memset(base, 0, plan.packed_size);
  const conv_int8::Header header = header_of(layer, *plan.level);
  std::memcpy(base, &header, sizeof header);
  auto *all = reinterpret_cast<int8_t *>(base + plan.levels);
  for (int i = 0; i < kCodeValues; ++i) all[i] = levels[i % count];
  for (int64_t group = 0; group < layer.geometry.groups; ++group) {
    const auto at = static_cast<size_t>(group);
    auto *start = reinterpret_cast<int32_t *>(base + plan.start + at * plan.start_step);
    pack_group(plan, {codes + group * size, all, layer.input_zero - plan.level->offset, start},
               reinterpret_cast<uint8_t *>(base + plan.weights) + at * plan.weights_step);
  }
  return SUBBYTE_OK;
}

}  // namespace subbyte::conv_int4
