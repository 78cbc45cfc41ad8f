// Pack weights into the layout of a level. Done once, so plain loops for all levels.
#include <algorithm>
#include <cstring>

#include "gemv/plan.h"
#include "codebook.h"

namespace subbyte::gemv {
namespace {

void pack_codebook(const subbyte_gemv_lut16 &layer, const Plan &plan, const int8_t *codebook,
                   char *packed) {
  const Codebook book = {plan.inputs,       plan.units * kUnit, conv_lut16::kWords,
                         plan.word_length,  plan.tables->chunk, plan.chunks,
                         layer.shared != 0, layer.input_zero,   layer.shift};
  book.pack(codebook, reinterpret_cast<int8_t *>(packed + plan.codebook),
            reinterpret_cast<int16_t *>(packed + plan.word_start));
}

void pack_levels(const Plan &plan, const int8_t *levels, int count, char *packed) {
  auto *to = reinterpret_cast<int8_t *>(packed + plan.levels);
  for (int k = 0; k < kLevelTables; ++k) {
    for (int i = 0; i < kVectorBytes; ++i) {
      const int field = (i >> plan.bits * k) & ((1 << plan.bits) - 1);
      to[k * kVectorBytes + i] = field < count ? levels[field] : int8_t{0};
    }
  }
}

// The field of vector k at `lane` of fields of kVectors vectors.
void put(uint8_t *fields, int bits, int k, int lane, unsigned code) {
  uint8_t *at = fields + lane;
  if (bits == 3 && k >= 6) {
    const unsigned pair = code << 3 * (k - 6);
    for (int r = 0; r < 3; ++r) {
      at[r * kVectorBytes] |= static_cast<uint8_t>((pair >> 2 * r & 3) << 6);
    }
    return;
  }
  const int each = 8 / bits;
  at[k / each * kVectorBytes] |= static_cast<uint8_t>(code << bits * (k % each));
}

// A code of a level that spreads them.
void put_spread(uint8_t *fields, int k, int lane, unsigned code) {
  const unsigned bits = (code & 3) | (code >> 2) << 4;
  fields[k / 2 * kVectorBytes + lane] |= static_cast<uint8_t>(bits << 2 * (k % 2));
}

// Where the fields of output o's lane block of a unit begin.
uint8_t *lane_block(const Plan &plan, int64_t o, int64_t unit, char *packed) {
  return reinterpret_cast<uint8_t *>(packed + plan.weights) + plan.unit_at(o / kTile, unit) +
         o % kTile / kLanes * plan.lane_bytes;
}

// One output; returns what its entries add to the sum too much where they are stored + 128.
int32_t pack_words(const Plan &plan, int64_t o, const uint8_t *codes, const uint8_t *gain_codes,
                   const int8_t *gains, char *packed) {
  const Level &level = *plan.level;
  const int row = static_cast<int>(o % kLanes);
  int32_t weight = 0;
  int code_lanes[kQuad], gain_lanes[kQuad];
  for (int j = 0; j < kQuad; ++j) {
    code_lanes[j] = level.code_lane(row, j);
    gain_lanes[j] = level.gain_lane(row, j);
  }
  for (int64_t unit = 0; unit < plan.units; ++unit) {
    uint8_t *fields = lane_block(plan, o, unit, packed);
    uint8_t *to = fields + plan.bits * kVectorBytes;
    for (int i = 0; i < kUnit; ++i) {
      const int k = i / kQuad, j = i % kQuad;
      const int64_t g = unit * kUnit + i;
      // Behind the last word all entries are 0: any code and gain will do.
      const unsigned code = g < plan.words ? codes[g] : 0;
      if (level.spread) {
        put_spread(to, k, code_lanes[j], code);
      } else {
        put(to, 4, k, code_lanes[j], code);
      }
      const unsigned number = plan.bits > 0 && g < plan.words ? gain_codes[g] : 0;
      if (plan.bits > 0) put(fields, plan.bits, k, gain_lanes[j], number);
      weight += plan.bits > 0 ? gains[number] : 1;
    }
  }
  return 128 * weight;
}

// One output; returns the sum of its weights. x is 0 behind the last input.
int32_t pack_weights(const Plan &plan, int64_t o, const uint8_t *codes, const int8_t *levels,
                     char *packed) {
  const int row = static_cast<int>(o % kLanes);
  int lanes[kQuad];
  for (int j = 0; j < kQuad; ++j) lanes[j] = plan.level->weight_lane(row, j);
  int32_t sum = 0;
  for (int64_t unit = 0; unit < plan.units; ++unit, codes += kUnit) {
    uint8_t *fields = lane_block(plan, o, unit, packed);
    const auto count = static_cast<int>(std::min<int64_t>(kUnit, plan.inputs - unit * kUnit));
    for (int i = 0; i < count; ++i) {
      put(fields, plan.bits, i / kQuad, lanes[i % kQuad], codes[i]);
      sum += levels[codes[i]];
    }
  }
  return sum;
}

}  // namespace

int pack(const subbyte_gemv_lut16 &layer, const Plan &plan, const uint8_t *codes,
         const uint8_t *gain_codes, const int8_t *gains, const int8_t *codebook, void *packed) {
  const int64_t count = plan.outputs * plan.words;
  int status = check_codes("codes", codes, count, conv_lut16::kWords);
  if (status == SUBBYTE_OK && plan.bits > 0) {
    status = check_codes("gain_codes", gain_codes, count, layer.gain_levels);
  }
  if (status == SUBBYTE_OK) status = check_gains(gains, layer.gain_levels);
  const int64_t books = layer.shared != 0 ? 1 : plan.words;
  if (status == SUBBYTE_OK) {
    status = check_words(codebook, books * conv_lut16::kWords, plan.word_length);
  }
  if (status != SUBBYTE_OK) return status;
  auto *base = static_cast<char *>(packed);
  std::memset(base, 0, plan.packed_size);
  const Header header = header_of(layer, *plan.level);
  std::memcpy(base, &header, sizeof header);
  pack_codebook(layer, plan, codebook, base);
  if (plan.bits > 0) pack_levels(plan, gains, layer.gain_levels, base);
  auto *start = reinterpret_cast<int32_t *>(base + plan.start);
  for (int64_t o = 0; o < plan.outputs; ++o) {
    const uint8_t *row_gains = plan.bits > 0 ? gain_codes + o * plan.words : nullptr;
    const int32_t excess = pack_words(plan, o, codes + o * plan.words, row_gains, gains, base);
    start[o] = plan.tables->flip[plan.bits > 0] ? -excess : 0;
  }
  return SUBBYTE_OK;
}

int pack(const subbyte_gemv_int4 &layer, const Plan &plan, const uint8_t *codes,
         const int8_t *levels, void *packed) {
  const int count = 1 << plan.bits;
  const int status = check_codes("codes", codes, plan.outputs * plan.inputs, count);
  if (status != SUBBYTE_OK) return status;
  auto *base = static_cast<char *>(packed);
  std::memset(base, 0, plan.packed_size);
  const Header header = header_of(layer, *plan.level);
  std::memcpy(base, &header, sizeof header);
  pack_levels(plan, levels, count, base);
  auto *start = reinterpret_cast<int32_t *>(base + plan.start);
  for (int64_t o = 0; o < plan.outputs; ++o) {
    start[o] =
        -layer.input_zero * pack_weights(plan, o, codes + o * plan.inputs, levels, base);
  }
  return SUBBYTE_OK;
}

}  // namespace subbyte::gemv
