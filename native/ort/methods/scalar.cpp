// Codes of single weights: step * code + offset.
#include <algorithm>

#include "ort/interface/error.h"
#include "ort/methods/method.h"
#include "ort/weights/choice.h"
#include "ort/weights/codes.h"
#include "ort/weights/packed.h"

namespace subbyte::ort {
namespace {

// 2-bit weights as product codes: the 16 pairs of 4 levels.
std::unique_ptr<Weights> pack_pairs(const KernelInfo &info, const Geometry &g,
                                    const WeightShape &shape, const std::vector<uint8_t> &codes,
                                    const int8_t *levels, Runs runs) {
  int8_t pairs[kLut16Words][2];
  for (int word = 0; word < kLut16Words; ++word) {
    pairs[word][0] = levels[word & 3];
    pairs[word][1] = levels[word >> 2];
  }
  Lookup lookup;
  lookup.codebook = pairs[0];
  lookup.words = kLut16Words;
  lookup.length = 2;
  lookup.codes.reserve(static_cast<size_t>(shape.outputs * shape.taps * (shape.channels + 1) / 2));
  const uint8_t *code = codes.data();
  for (int64_t row = 0; row < shape.outputs * shape.taps; ++row, code += shape.channels) {
    for (int64_t i = 0; i < shape.channels; i += 2) {
      const int second = i + 1 < shape.channels ? code[i + 1] : 0;
      lookup.codes.push_back(static_cast<uint8_t>(code[i] | second << 2));
    }
  }
  return pack_lookup(g, lookup, table_shift(info), runs);
}

std::unique_ptr<Weights> pack(const KernelInfo &info, const Geometry &g, const WeightShape &shape,
                              int bits, const std::vector<uint8_t> &codes,
                              const std::vector<int8_t> &levels) {
  subbyte_weights format = {};
  format.format = SUBBYTE_WEIGHTS_LEVELS;
  format.table_shift = info.has(kTableShift);
  format.bits = bits;
  const Runs runs = choose(g, format);
  if (runs == Runs::kGemvInt4 || runs == Runs::kConvInt4) {
    return pack_levels(g, bits, codes, levels, runs);
  }
  if (runs != Runs::kConvInt8) return pack_pairs(info, g, shape, codes, levels.data(), runs);
  std::vector<int8_t> weight(codes.size());
  std::transform(codes.begin(), codes.end(), weight.begin(),
                 [&](uint8_t code) { return levels[code]; });
  return pack_int8(g, weight);
}

Coded read(const KernelInfo &info, const Geometry &g, const Binarization &) {
  const WeightShape shape = read_shape(info, g);
  const int64_t step = info.integer("step", 1, 255);
  const int64_t offset = info.integer("offset", -128, 127);
  int bits = 0;
  const std::vector<uint8_t> codes = read_codes(info, 1, "codes", shape.count(), &bits);
  const int64_t highest = step * ((1 << bits) - 1) + offset;
  if (highest > 127) throw wrong("highest level", "at most 127", std::to_string(highest));
  std::vector<int8_t> levels(size_t{1} << bits);
  for (size_t code = 0; code < levels.size(); ++code) {
    levels[code] = static_cast<int8_t>(step * static_cast<int64_t>(code) + offset);
  }
  Coded coded;
  coded.scale = read_scale(info, 2, shape.outputs);
  coded.weights = pack(info, g, shape, bits, codes, levels);
  return coded;
}

}  // namespace

extern const Method kScalar = {"Scalar", 2, {Type::kUint8, Type::kFloat16}, false, read};

}  // namespace subbyte::ort
