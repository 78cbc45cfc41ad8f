#include "ort/weights.h"

#include <algorithm>
#include <cmath>

#include "ort/codes.h"
#include "ort/decode.h"
#include "ort/error.h"
#include "ort/packed.h"

namespace subbyte::ort {
namespace {

constexpr char kTableShift[] = "table_shift";
// Terms of one sum that the look-up kernel takes (subbyte_conv_lut16_packed_size).
constexpr int64_t kLookupTerms = 1 << 16;
// Of methods whose weights the size of a file does not bound: zeros after the last one of a plane
// take no room, nor does more than its factors a product.
constexpr int64_t kMostDecoded = int64_t{1} << 30;

// How a weight is made of codes: everything but the codes themselves.
struct Shape {
  int64_t outputs, taps, channels;  // weight_shape
  int64_t groups, code_groups;      // G codes a tap and group of the convolution
};

Shape read_shape(const KernelInfo &info, const Geometry &g) {
  const Dims weight = info.integers("weight_shape", 3, 1, int64_t{1} << 30);
  const Dims expected = {g.outputs, g.kernel[0] * g.kernel[1], g.inputs / g.groups};
  if (weight != expected) {
    throw wrong("attribute weight_shape", shape_text(expected.data(), 3),
                   shape_text(weight.data(), 3));
  }
  product(weight, "attribute weight_shape");
  return {weight[0], weight[1], weight[2], g.groups, weight[2]};
}

int32_t table_shift(const KernelInfo &info) {
  return static_cast<int32_t>(info.integer(kTableShift, 0, 8));
}

// Whether the file says so, and there is a kernel for it.
bool looked_up(const KernelInfo &info, const Shape &shape, const Lookup &lookup) {
  const int64_t padded = (shape.code_groups + 3) / 4 * 4;
  return info.has(kTableShift) && lookup.words >= kLookupWords && lookup.length <= 16 &&
         shape.taps <= kLookupTerms / padded;
}

void check_codebook(const Tensor &book, int bits, const Shape &shape) {
  const int64_t all = shape.groups * shape.code_groups;
  if (book.dims.size() != 3 || (book.dims[0] != 1 && book.dims[0] != all) ||
      book.dims[1] != int64_t{1} << bits) {
    throw wrong("codebook",
                   "[1 or " + std::to_string(all) + ", " + std::to_string(1 << bits) + ", d]",
                   shape_text(book.dims.data(), book.dims.size()));
  }
}

// d of a codebook [books, words, d], and the number of codes it gives a tap.
int64_t word_length(const Tensor &book, Shape *shape) {
  if (book.dims.size() != 3 || book.dims[2] < 1 || book.dims[2] > 256) {
    throw wrong("codebook", "[books, words, 1 to 256]",
                   shape_text(book.dims.data(), book.dims.size()));
  }
  shape->code_groups = (shape->channels + book.dims[2] - 1) / book.dims[2];
  return book.dims[2];
}

void check_code_shape(const KernelInfo &info, const Shape &shape) {
  const Dims grid = info.integers("code_shape", 4, 1, int64_t{1} << 30);
  const Dims expected = {shape.groups, shape.outputs / shape.groups, shape.taps,
                         shape.code_groups};
  if (grid != expected) {
    throw wrong("attribute code_shape", shape_text(expected.data(), 4),
                   shape_text(grid.data(), 4));
  }
}

// Effective int8 weights [outputs][taps][channels]: rint(gain * word / 64).
std::vector<int8_t> decode(const Shape &shape, const Lookup &lookup) {
  std::vector<int8_t> weight(static_cast<size_t>(shape.outputs * shape.taps * shape.channels));
  int8_t *target = weight.data();
  size_t code = 0;
  for (int64_t o = 0; o < shape.outputs; ++o) {
    const int64_t first = o / (shape.outputs / shape.groups) * shape.code_groups;
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
      code += static_cast<size_t>(shape.code_groups);
    }
  }
  return weight;
}

Coded read_product(const KernelInfo &info, const Geometry &g, bool gain) {
  Shape shape = read_shape(info, g);
  const Tensor book = info.constant(2, "codebook", Type::kInt8);
  Lookup lookup;
  lookup.length = word_length(book, &shape);
  check_code_shape(info, shape);
  const int64_t count =
      product({shape.outputs, shape.taps, shape.code_groups}, "attribute code_shape");
  int bits = 0, gain_bits = 0;
  lookup.codes = read_codes(info, 1, "codes", count, &bits);
  check_codebook(book, bits, shape);
  lookup.codebook = book.as<int8_t>();
  lookup.books = book.dims[0];
  lookup.words = book.dims[1];
  if (gain) {
    lookup.gain_codes = read_codes(info, 4, "gain_codes", count, &gain_bits);
    lookup.gain_levels = int64_t{1} << gain_bits;
    lookup.gains = info.constant(5, "gains", Type::kInt8, {lookup.gain_levels}).as<int8_t>();
  }
  Coded coded;
  coded.scale = read_scale(info, 3, shape.outputs);
  coded.weights = looked_up(info, shape, lookup) ? pack_lookup(g, lookup, table_shift(info))
                                              : pack_int8(g, decode(shape, lookup));
  return coded;
}

// 2-bit weights as product codes: the 16 pairs of 4 levels.
std::unique_ptr<Weights> pack_pairs(const KernelInfo &info, const Geometry &g, Shape shape,
                                    const std::vector<uint8_t> &codes, const int8_t *levels) {
  int8_t pairs[kLookupWords][2];
  for (int word = 0; word < kLookupWords; ++word) {
    pairs[word][0] = levels[word & 3];
    pairs[word][1] = levels[word >> 2];
  }
  Lookup lookup;
  lookup.codebook = pairs[0];
  lookup.words = kLookupWords;
  lookup.length = 2;
  shape.code_groups = (shape.channels + 1) / 2;
  if (!looked_up(info, shape, lookup)) return nullptr;
  lookup.codes.reserve(static_cast<size_t>(shape.outputs * shape.taps * shape.code_groups));
  const uint8_t *code = codes.data();
  for (int64_t row = 0; row < shape.outputs * shape.taps; ++row, code += shape.channels) {
    for (int64_t i = 0; i < shape.channels; i += 2) {
      const int second = i + 1 < shape.channels ? code[i + 1] : 0;
      lookup.codes.push_back(static_cast<uint8_t>(code[i] | second << 2));
    }
  }
  return pack_lookup(g, lookup, table_shift(info));
}

Coded read_scalar(const KernelInfo &info, const Geometry &g) {
  const Shape shape = read_shape(info, g);
  const int64_t step = info.integer("step", 1, 255);
  const int64_t offset = info.integer("offset", -128, 127);
  const int64_t count = product({shape.outputs, shape.taps, shape.channels}, "weight_shape");
  int bits = 0;
  const std::vector<uint8_t> codes = read_codes(info, 1, "codes", count, &bits);
  const int64_t highest = step * ((1 << bits) - 1) + offset;
  if (highest > 127) throw wrong("highest level", "at most 127", std::to_string(highest));
  std::vector<int8_t> levels(size_t{1} << bits);
  for (size_t code = 0; code < levels.size(); ++code) {
    levels[code] = static_cast<int8_t>(step * static_cast<int64_t>(code) + offset);
  }
  Coded coded;
  coded.scale = read_scale(info, 2, shape.outputs);
  coded.weights = pack_levels(g, bits, codes, levels);
  if (coded.weights == nullptr && bits == 2) {
    coded.weights = pack_pairs(info, g, shape, codes, levels.data());
  }
  if (coded.weights == nullptr) {
    std::vector<int8_t> weight(codes.size());
    std::transform(codes.begin(), codes.end(), weight.begin(),
                   [&](uint8_t code) { return levels[code]; });
    coded.weights = pack_int8(g, weight);
  }
  return coded;
}

// Methods whose codes no kernel reads: the weights they stand for.
Coded read_decoded(Method method, const KernelInfo &info, const Geometry &g) {
  const Shape read = read_shape(info, g);
  const WeightShape shape = {read.outputs, read.taps, read.channels, read.groups};
  const int64_t count = read.outputs * read.taps * read.channels;
  if (count > kMostDecoded) {
    throw wrong("attribute weight_shape", "at most 2^30 weights", std::to_string(count));
  }
  Coded coded;
  coded.scale = read_scale(info, packed_count(method), shape.outputs);
  coded.weights = pack_int8(
      g, method == Method::kTernary
             ? decode_ternary(info, shape)
             : decode_composite(info, shape, method == Method::kCompositeFactored));
  return coded;
}

// x is binarized as whole numbers, codes less their zero point; its scale goes into that of y.
Coded read_binary(const KernelInfo &info, const Geometry &g, const Coding &coding) {
  const Shape shape = read_shape(info, g);
  const int64_t count = product({shape.outputs, shape.taps, shape.channels}, "weight_shape");
  const Tensor signs = info.constant(1, "signs", Type::kUint8, {(count + 7) / 8, 1});
  Coded coded;
  coded.scale = read_scale(info, 2, shape.outputs);
  coded.weights = pack_binary(g, coding, signs.as<uint8_t>());
  return coded;
}

}  // namespace

size_t packed_count(Method method) {
  switch (method) {
    case Method::kProduct:
      return 3;
    case Method::kProductGain:
      return 5;
    case Method::kScalar:
    case Method::kBinary:
      return 2;
    case Method::kTernary:
      return 4;
    case Method::kComposite:
      return 8;
    case Method::kCompositeFactored:
      return 10;
  }
  return 0;
}

Type packed_type(Method method, size_t index) {
  static constexpr Type kProduct[] = {Type::kUint8, Type::kInt8, Type::kFloat16, Type::kUint8,
                                      Type::kInt8};
  if (method == Method::kProduct || method == Method::kProductGain) return kProduct[index];
  // The others: codes, and the scale last.
  return index + 1 == packed_count(method) ? Type::kFloat16 : Type::kUint8;
}

Coded read_weights(const Coding &coding, const KernelInfo &info, const Geometry &geometry) {
  switch (coding.method) {
    case Method::kProduct:
    case Method::kProductGain:
      return read_product(info, geometry, coding.method == Method::kProductGain);
    case Method::kScalar:
      return read_scalar(info, geometry);
    case Method::kBinary:
      return read_binary(info, geometry, coding);
    case Method::kTernary:
    case Method::kComposite:
    case Method::kCompositeFactored:
      break;
  }
  return read_decoded(coding.method, info, geometry);
}

}  // namespace subbyte::ort
