// Codes of words, with or without a gain: gains[gain_codes] * codebook[codes].
#include <cmath>

#include "ort/interface/error.h"
#include "ort/methods/method.h"
#include "ort/weights/choice.h"
#include "ort/weights/codes.h"
#include "ort/weights/packed.h"

namespace subbyte::ort {
namespace {

// G: the codes of a tap and group of the convolution.
int64_t codes_of(const WeightShape &shape, int64_t length) {
  return (shape.channels + length - 1) / length;
}

void check_codebook(const Tensor &book, int bits, int64_t books) {
  if (book.dims.size() != 3 || (book.dims[0] != 1 && book.dims[0] != books) ||
      book.dims[1] != int64_t{1} << bits) {
    throw wrong("codebook",
                "[1 or " + std::to_string(books) + ", " + std::to_string(1 << bits) + ", d]",
                shape_text(book.dims.data(), book.dims.size()));
  }
}

// d of a codebook [books, words, d].
int64_t word_length(const Tensor &book) {
  if (book.dims.size() != 3 || book.dims[2] < 1 || book.dims[2] > 256) {
    throw wrong("codebook", "[books, words, 1 to 256]",
                shape_text(book.dims.data(), book.dims.size()));
  }
  return book.dims[2];
}

void check_code_shape(const KernelInfo &info, const WeightShape &shape, int64_t codes) {
  const Dims grid = info.integers("code_shape", 4, 1, int64_t{1} << 30);
  const Dims expected = {shape.groups, shape.outputs / shape.groups, shape.taps, codes};
  if (grid != expected) {
    throw wrong("attribute code_shape", shape_text(expected.data(), 4), shape_text(grid.data(), 4));
  }
}

// Effective int8 weights [outputs][taps][channels]: rint(gain * word / 64).
std::vector<int8_t> decode(const WeightShape &shape, const Lookup &lookup) {
  const int64_t code_groups = codes_of(shape, lookup.length);
  std::vector<int8_t> weight(static_cast<size_t>(shape.count()));
  int8_t *target = weight.data();
  size_t code = 0;
  for (int64_t o = 0; o < shape.outputs; ++o) {
    const int64_t first = o / (shape.outputs / shape.groups) * code_groups;
    for (int64_t t = 0; t < shape.taps; ++t) {
      for (int64_t i = 0; i < shape.channels; ++i) {
        const int64_t part = i / lookup.length;
        const size_t at = code + static_cast<size_t>(part);
        const int64_t book = lookup.books > 1 ? first + part : 0;
        const int word = lookup.codebook[(book * lookup.words + lookup.codes[at]) * lookup.length +
                                         i % lookup.length];
        const int gain = lookup.gain_levels ? lookup.gains[lookup.gain_codes[at]] : kGainUnit;
        const double value = std::nearbyint(gain * word / static_cast<double>(kGainUnit));
        if (value < -128 || value > 127) {
          throw wrong("gain times word", "within int8", std::to_string(value));
        }
        *target++ = static_cast<int8_t>(value);
      }
      code += static_cast<size_t>(code_groups);
    }
  }
  return weight;
}

Coded read(const KernelInfo &info, const Geometry &g, bool gain) {
  const WeightShape shape = read_shape(info, g);
  const Tensor book = info.constant(2, "codebook", Type::kInt8);
  Lookup lookup;
  lookup.length = word_length(book);
  const int64_t codes = codes_of(shape, lookup.length);
  check_code_shape(info, shape, codes);
  const int64_t count = product({shape.outputs, shape.taps, codes}, "attribute code_shape");
  int bits = 0, gain_bits = 0;
  lookup.codes = read_codes(info, 1, "codes", count, &bits);
  check_codebook(book, bits, shape.groups * codes);
  lookup.codebook = book.as<int8_t>();
  lookup.books = book.dims[0];
  lookup.words = book.dims[1];
  if (gain) {
    lookup.gain_codes = read_codes(info, 4, "gain_codes", count, &gain_bits);
    lookup.gain_levels = int64_t{1} << gain_bits;
    lookup.gains = info.constant(5, "gains", Type::kInt8, {lookup.gain_levels}).as<int8_t>();
  }
  subbyte_weights weights = {};
  weights.format = SUBBYTE_WEIGHTS_WORDS;
  weights.table_shift = info.has(kTableShift);
  weights.words = lookup.words;
  weights.word_length = lookup.length;
  weights.gain_levels = lookup.gain_levels;
  const Runs runs = choose(g, weights);
  Coded coded;
  coded.scale = read_scale(info, 3, shape.outputs);
  coded.weights = runs == Runs::kConvInt8 ? pack_int8(g, decode(shape, lookup))
                                          : pack_lookup(g, lookup, table_shift(info), runs);
  return coded;
}

Coded read_plain(const KernelInfo &info, const Geometry &g, const Binarization &) {
  return read(info, g, false);
}

Coded read_gain(const KernelInfo &info, const Geometry &g, const Binarization &) {
  return read(info, g, true);
}

}  // namespace

extern const Method kProduct = {
    "Product", 3, {Type::kUint8, Type::kInt8, Type::kFloat16}, false, read_plain};
extern const Method kProductGain = {
    "ProductGain",
    5,
    {Type::kUint8, Type::kInt8, Type::kFloat16, Type::kUint8, Type::kInt8},
    false,
    read_gain};

}  // namespace subbyte::ort
