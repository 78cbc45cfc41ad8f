// Pack weights into the layout of a level. Done once, so plain loops for all levels.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "error.h"
#include "lookup/plan.h"

namespace subbyte::lookup {
namespace {

// Sums of a word's positive and negative parts; at most this, its inner product with any
// (x - zero) stays within 126 * 255, and with the rounding constant within int16.
constexpr int kPartLimit = 126;
constexpr int kGainLimit = 64;

int bad_value(const char *what, int64_t at, const char *expected, int got) {
  return fail(SUBBYTE_BAD_DATA, "%s: expected %s, got %d at %lld", what, expected, got,
              static_cast<long long>(at));
}

int check(const subbyte_lookup &layer, const Plan &plan, const uint8_t *codes,
          const uint8_t *gain_codes, const int8_t *gains, const int8_t *codebook) {
  const int64_t count = layer.outputs * plan.taps * plan.words;
  for (int64_t i = 0; i < count; ++i) {
    if (codes[i] >= kWords) return bad_value("codes", i, "at most 15", codes[i]);
    if (plan.gain && gain_codes[i] >= layer.gain_levels) {
      return bad_value("gain_codes", i, "less than gain_levels", gain_codes[i]);
    }
  }
  for (int i = 0; i < layer.gain_levels; ++i) {
    if (gains[i] < -kGainLimit || gains[i] > kGainLimit) {
      return bad_value("gains", i, "-64 to 64", gains[i]);
    }
  }
  const int64_t books = layer.shared != 0 ? 1 : layer.groups * plan.words;
  for (int64_t word = 0; word < books * kWords; ++word) {
    int above = 0, below = 0;
    for (int i = 0; i < plan.word_length; ++i) {
      const int value = codebook[word * plan.word_length + i];
      (value > 0 ? above : below) += value;
    }
    if (above > kPartLimit || -below > kPartLimit) {
      return bad_value("codebook", word, "positive and negative entries that sum to 126 at most",
                       above > kPartLimit ? above : below);
    }
  }
  return SUBBYTE_OK;
}

// [group][chunks][kWords][chunk], zeros behind a word's end and behind the last channel, and
// start = half - input_zero * sum(word).
void pack_codebook(const subbyte_lookup &layer, const Plan &plan, int64_t group,
                   const int8_t *codebook, char *packed) {
  const int d = plan.word_length, chunk = plan.level->chunk;
  auto *to = reinterpret_cast<int8_t *>(packed + plan.codebook) +
             static_cast<size_t>(group) * plan.codebook_step;
  auto *start = reinterpret_cast<int16_t *>(packed + plan.start +
                                            static_cast<size_t>(group) * plan.start_step);
  const int half = (1 << layer.shift) >> 1;
  for (int64_t g = 0; g < plan.vectors * kVectorGroups; ++g) {
    const int64_t book = layer.shared != 0 ? 0 : group * plan.words + g;
    for (int c = 0; c < kWords; ++c) {
      int sum = 0;
      for (int i = 0; i < d && g * d + i < plan.channels; ++i) {
        const int8_t value = codebook[(book * kWords + c) * d + i];
        to[((g * plan.chunks + i / chunk) * kWords + c) * chunk + i % chunk] = value;
        sum += value;
      }
      start[g * kWords + c] = static_cast<int16_t>(half - layer.input_zero * sum);
    }
  }
}

struct Source {
  const uint8_t *codes, *gain_codes;
  const int8_t *gains;
  int unit;  // what stored gains are divided by
};

// The unit of kSmallGain, 0 if the gains or the level do not allow it.
int gain_unit(const subbyte_lookup &layer, const Plan &plan, const int8_t *gains) {
  if (!plan.gain || plan.compact) return 0;
  int unit = 0, most = 0;
  for (int i = 0; i < layer.gain_levels; ++i) {
    const int size = std::abs(gains[i]);
    unit = std::gcd(unit, size);
    most = std::max(most, size);
  }
  return unit > 0 && most / unit <= plan.level->small_gain ? unit : 0;
}

// Where output `o` of a group and its tap begin in the packed codes, and the distance from
// one vector (compact: one pair) to the next: blocks of up to Level::blocks lane blocks, [tap][vector][block].
struct Place {
  int64_t first, step;
};

Place place(const Plan &plan, int64_t o, int64_t tap) {
  const int64_t most = plan.level->blocks;
  const int64_t lane_block = o / kLanes, first = lane_block / most * most;
  const int64_t blocks = plan.lane_blocks - first < most ? plan.lane_blocks - first : most;
  const int64_t vectors = plan.compact ? plan.vectors / 2 : plan.vectors;
  return {(first * plan.taps * vectors + tap * vectors * blocks + lane_block - first) *
              kVectorBytes,
          blocks * kVectorBytes};
}

// The same of compact weights.
int32_t pack_compact_tap(const Plan &plan, int64_t row, int64_t o, int64_t tap,
                         const Source &source, uint8_t *codes, uint8_t *gains) {
  const Level &level = *plan.level;
  const Place at = place(plan, o, tap);
  const int lane = static_cast<int>(o % kLanes);
  int32_t weight = 0;
  for (int64_t g = 0; g < plan.vectors * kVectorGroups; ++g) {
    const int j = static_cast<int>(g % kVectorGroups);
    const int64_t vector = g / kVectorGroups;
    const int second = static_cast<int>(vector % 2);
    const bool real = g < plan.words;
    const int64_t pair = at.first + vector / 2 * at.step;
    const int code = real ? source.codes[row * plan.words + g] : 0;
    const int bits = level.code_byte(j, code) & 0x33;
    codes[pair + level.code_lane(lane, j)] |= static_cast<uint8_t>(bits << 2 * second);
    if (!plan.gain) continue;
    // Behind the last group any gain will do: all entries are 0 there.
    const int gain = real ? source.gain_codes[row * plan.words + g] : 0;
    gains[pair + level.gain_lane(lane, j)] |= static_cast<uint8_t>(gain << 4 * second);
    weight += source.gains[gain];
  }
  return 128 * weight;
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

int pack(const subbyte_lookup &layer, const Plan &plan, const uint8_t *codes,
         const uint8_t *gain_codes, const int8_t *gains, const int8_t *codebook, void *packed) {
  const int status = check(layer, plan, codes, gain_codes, gains, codebook);
  if (status != SUBBYTE_OK) return status;
  auto *base = static_cast<char *>(packed);
  std::memset(base, 0, plan.packed_size);
  fill_header(layer, *plan.level, reinterpret_cast<PackedHeader *>(base));
  const int32_t unit = gain_unit(layer, plan, gains);
  std::memcpy(base + plan.gain_unit, &unit, sizeof unit);
  const Source source = {codes, gain_codes, gains, std::max(1, unit)};
  if (plan.compact && plan.gain) {
    std::memcpy(base + plan.gain_levels, gains, static_cast<size_t>(layer.gain_levels));
  }
  for (int64_t group = 0; group < layer.groups; ++group) {
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
        excess += plan.compact
                      ? pack_compact_tap(plan, row, o, tap, source, to_codes,
                                         reinterpret_cast<uint8_t *>(to_gains))
                      : pack_tap(plan, row, o, tap, source, to_codes, to_gains);
      }
      sums[o] = plan.level->flip[plan.gain] ? -excess : 0;
    }
  }
  return SUBBYTE_OK;
}

}  // namespace subbyte::lookup
