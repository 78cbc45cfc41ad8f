// Pack weights into the layout of a level. Done once, so plain loops for all levels.
#include <algorithm>
#include <cstring>

#include "codebook.h"
#include "conv_lut256/plan.h"

namespace subbyte::conv_lut256 {
namespace {

static_assert(kUnit == Codebook::kUnit, "the build stage reads the common layout");

int check(const subbyte_conv_lut256 &layer, const Plan &plan, const uint8_t *codes,
          const uint8_t *gain_codes, const int8_t *gains, const int8_t *codebook) {
  const int64_t count = layer.geometry.outputs * plan.taps * plan.channel_groups;
  int status = check_codes("codes", codes, count, plan.words);
  if (status == SUBBYTE_OK && plan.gain) {
    status = check_codes("gain_codes", gain_codes, count, layer.gain_levels);
  }
  if (status == SUBBYTE_OK) status = check_gains(gains, layer.gain_levels);
  const int64_t books = layer.shared != 0 ? 1 : layer.geometry.groups * plan.channel_groups;
  if (status == SUBBYTE_OK) status = check_words(codebook, books * plan.words, plan.word_length);
  return status;
}

void pack_codebook(const subbyte_conv_lut256 &layer, const Plan &plan, int64_t group,
                   const int8_t *codebook, char *packed) {
  const bool shared = layer.shared != 0;
  const Codebook book = {plan.channels,
                         plan.vectors * kVectorGroups,
                         plan.words,
                         plan.word_length,
                         plan.level->chunk,
                         plan.chunks,
                         shared,
                         layer.input_zero,
                         layer.shift};
  const auto at = static_cast<size_t>(group);
  book.pack(codebook + (shared ? 0 : group * plan.channel_groups * plan.words * plan.word_length),
            reinterpret_cast<int8_t *>(packed + plan.codebook + at * plan.codebook_step),
            reinterpret_cast<int16_t *>(packed + plan.start + at * plan.start_step));
}

struct Source {
  const uint8_t *codes, *gain_codes;
  const int8_t *gains;
};

// One tap of one output; returns what its entries, stored + 128, add to the sum too much.
int32_t pack_tap(const Plan &plan, int64_t row, int64_t o, int64_t tap, const Source &source,
                 uint8_t *codes, int8_t *gains) {
  const Level &level = *plan.level;
  const int64_t most = level.most_cells(plan.words, plan.gain);
  const int64_t cell = o / level.lanes, first = cell / most * most;
  const int64_t cells = std::min(plan.cells - first, most);
  const int lane = static_cast<int>(o % level.lanes);
  int32_t weight = 0;
  for (int64_t g = 0; g < plan.vectors * kVectorGroups; ++g) {
    const int j = static_cast<int>(g % kVectorGroups);
    const int64_t step = step_of(plan, tap, g / kVectorGroups);
    const int64_t at = (first * plan.steps + step * cells + cell - first) * plan.cell_bytes;
    // Behind the last channel group all entries are 0: any code will do.
    const bool real = g < plan.channel_groups;
    const int code = real ? source.codes[row * plan.channel_groups + g] : 0;
    codes[at + level.code_lane(plan.words, plan.gain, lane, j)] =
        static_cast<uint8_t>(level.code_byte(plan.words, j, code));
    int8_t gain = 1;
    if (plan.gain) {
      gain = real ? source.gains[source.gain_codes[row * plan.channel_groups + g]] : int8_t{0};
      gains[at + level.gain_lane(lane, j)] = gain;
    }
    weight += gain;
  }
  return 128 * weight;
}

// Codes, gains and the sums' start values of one group of the convolution.
void pack_group(const Plan &plan, int64_t group, const Source &source, char *packed) {
  const auto at = static_cast<size_t>(group);
  auto *codes = reinterpret_cast<uint8_t *>(packed + plan.codes + at * plan.codes_step);
  auto *gains = reinterpret_cast<int8_t *>(packed + plan.gains + at * plan.codes_step);
  auto *sums = reinterpret_cast<int32_t *>(packed + plan.sums + at * plan.sums_step);
  for (int64_t o = 0; o < plan.outputs; ++o) {
    int32_t excess = 0;
    for (int64_t tap = 0; tap < plan.taps; ++tap) {
      const int64_t row = (group * plan.outputs + o) * plan.taps + tap;
      excess += pack_tap(plan, row, o, tap, source, codes, gains);
    }
    sums[o] = plan.level->flip ? -excess : 0;
  }
}

}  // namespace

int pack(const subbyte_conv_lut256 &layer, const Plan &plan, const uint8_t *codes,
         const uint8_t *gain_codes, const int8_t *gains, const int8_t *codebook, void *packed) {
  const int status = check(layer, plan, codes, gain_codes, gains, codebook);
  if (status != SUBBYTE_OK) return status;
  auto *base = static_cast<char *>(packed);
  std::memset(base, 0, plan.packed_size);
  const Header header = header_of(layer, *plan.level);
  std::memcpy(base, &header, sizeof header);
  for (int64_t group = 0; group < layer.geometry.groups; ++group) {
    pack_codebook(layer, plan, group, codebook, base);
    pack_group(plan, group, {codes, gain_codes, gains}, base);
  }
  return SUBBYTE_OK;
}

}  // namespace subbyte::conv_lut256
