// Pack weights into the layout of a level. Done once, so plain loops for all levels.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "codebook.h"
#include "conv_lut16/plan.h"

namespace subbyte::conv_lut16 {
namespace {

static_assert(kWords == Codebook::kUnit, "the build stage reads the common layout");

int check(const subbyte_conv_lut16 &layer, const Plan &plan, const uint8_t *codes,
          const uint8_t *gain_codes, const int8_t *gains, const int8_t *codebook) {
  const int64_t count = layer.geometry.outputs * plan.taps * plan.words;
  int status = check_codes("codes", codes, count, kWords);
  if (status == SUBBYTE_OK && plan.gain) {
    status = check_codes("gain_codes", gain_codes, count, layer.gain_levels);
  }
  if (status == SUBBYTE_OK) status = check_gains(gains, layer.gain_levels);
  const int64_t books = layer.shared != 0 ? 1 : layer.geometry.groups * plan.words;
  if (status == SUBBYTE_OK) status = check_words(codebook, books * kWords, plan.word_length);
  return status;
}

void pack_codebook(const subbyte_conv_lut16 &layer, const Plan &plan, int64_t group,
                   const int8_t *codebook, char *packed) {
  const bool shared = layer.shared != 0;
  const Codebook book = {plan.channels,
                         plan.vectors * kVectorGroups,
                         kWords,
                         plan.word_length,
                         plan.level->chunk,
                         plan.chunks,
                         shared,
                         layer.input_zero,
                         layer.shift};
  const auto step = static_cast<size_t>(group);
  book.pack(codebook + (shared ? 0 : group * plan.words * kWords * plan.word_length),
            reinterpret_cast<int8_t *>(packed + plan.codebook + step * plan.codebook_step),
            reinterpret_cast<int16_t *>(packed + plan.start + step * plan.start_step));
}

struct Source {
  const uint8_t *codes, *gain_codes;
  const int8_t *gains;
  int unit;  // what stored gains are divided by
};

// The unit of kSmallGain, 0 if the gains or the level do not allow it.
int gain_unit(const subbyte_conv_lut16 &layer, const Plan &plan, const int8_t *gains) {
  if (!plan.gain) return 0;
  int unit = 0, most = 0;
  for (int i = 0; i < layer.gain_levels; ++i) {
    const int size = std::abs(gains[i]);
    unit = std::gcd(unit, size);
    most = std::max(most, size);
  }
  return unit > 0 && most / unit <= plan.level->small_gain ? unit : 0;
}

// Where output `o` of a group and its tap begin in the packed codes, and the distance from
// one vector to the next: blocks of up to Level::blocks lane blocks, [tap][vector][block].
struct Place {
  int64_t first, step;
};

Place place(const Plan &plan, int64_t o, int64_t tap) {
  const int64_t most = plan.level->blocks;
  const int64_t lane_block = o / kLanes, first = lane_block / most * most;
  const int64_t blocks = plan.lane_blocks - first < most ? plan.lane_blocks - first : most;
  return {(first * plan.taps * plan.vectors + tap * plan.vectors * blocks + lane_block - first) *
              kVectorBytes,
          blocks * kVectorBytes};
}

// One tap of one output; returns what its entries, stored + 128, add to the sum too much.
int32_t pack_tap(const Plan &plan, int64_t row, int64_t o, int64_t tap, const Source &source,
                 uint8_t *codes, int8_t *gains) {
  const Level &level = *plan.level;
  const Place at = place(plan, o, tap);
  const int lane = static_cast<int>(o % kLanes);
  int32_t weight = 0;
  for (int64_t g = 0; g < plan.vectors * kVectorGroups; ++g) {
    const int j = static_cast<int>(g % kVectorGroups);
    const bool real = g < plan.words;
    const int64_t vector = at.first + g / kVectorGroups * at.step;
    const int code = real ? source.codes[row * plan.words + g] : 0;
    codes[vector + level.code_lane(lane, j)] = static_cast<uint8_t>(level.code_byte(j, code));
    int8_t gain = 1;
    if (plan.gain) {
      gain = real ? source.gains[source.gain_codes[row * plan.words + g]] : int8_t{0};
      gains[vector + level.gain_lane(lane, j)] = static_cast<int8_t>(gain / source.unit);
    }
    weight += gain;
  }
  return 128 * weight;
}

}  // namespace

int pack(const subbyte_conv_lut16 &layer, const Plan &plan, const uint8_t *codes,
         const uint8_t *gain_codes, const int8_t *gains, const int8_t *codebook, void *packed) {
  const int status = check(layer, plan, codes, gain_codes, gains, codebook);
  if (status != SUBBYTE_OK) return status;
  auto *base = static_cast<char *>(packed);
  std::memset(base, 0, plan.packed_size);
  const Header header = header_of(layer, *plan.level);
  std::memcpy(base, &header, sizeof header);
  const int32_t unit = gain_unit(layer, plan, gains);
  std::memcpy(base + plan.gain_unit, &unit, sizeof unit);
  const Source source = {codes, gain_codes, gains, std::max(1, unit)};
  for (int64_t group = 0; group < layer.geometry.groups; ++group) {
    pack_codebook(layer, plan, group, codebook, base);
    const size_t offset = static_cast<size_t>(group) * plan.codes_step;
    auto *to_codes = reinterpret_cast<uint8_t *>(base + plan.codes + offset);
    auto *to_gains = reinterpret_cast<int8_t *>(base + plan.gains + offset);
    auto *sums = reinterpret_cast<int32_t *>(base + plan.sums +
                                             static_cast<size_t>(group) * plan.sums_step);
    for (int64_t o = 0; o < plan.outputs; ++o) {
      int32_t excess = 0;
      for (int64_t tap = 0; tap < plan.taps; ++tap) {
        const int64_t row = (group * plan.outputs + o) * plan.taps + tap;
        excess += pack_tap(plan, row, o, tap, source, to_codes, to_gains);
      }
      sums[o] = plan.level->flip[plan.gain] ? -excess : 0;
    }
  }
  return SUBBYTE_OK;
}

}  // namespace subbyte::conv_lut16
