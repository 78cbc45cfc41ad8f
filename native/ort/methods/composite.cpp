// sign * sum over planes b of plane_b * 2^b; a plane is gap codes, or A B over GF(2).
#include <algorithm>

#include "ort/interface/error.h"
#include "ort/methods/method.h"
#include "ort/weights/codes.h"
#include "ort/weights/packed.h"

namespace subbyte::ort {
namespace {

constexpr size_t kPlanes = 6;
constexpr int64_t kLargest = int64_t{1} << 40;

using Magnitudes = std::vector<int8_t>;  // at most 63, or twice that of a strange file

// Add 2^bit where the plane of input bit + 1 has ones. A code below 2^width - 1 is that many
// zeros and a one; the code 2^width - 1 is that many zeros.
void add_gaps(const KernelInfo &info, size_t bit, int64_t codes, Magnitudes *magnitudes) {
  const std::string name = "plane" + std::to_string(bit);
  int width = 0;
  const std::vector<uint8_t> gaps = read_codes(info, bit + 1, name.c_str(), codes, &width);
  const int escape = (1 << width) - 1;
  size_t place = 0;
  for (const uint8_t gap : gaps) {
    const bool one = gap < escape;
    place += gap + (one ? 1U : 0U);
    if (place > magnitudes->size()) {
      throw wrong(name.c_str(), "gaps that end within the weight's " +
                                    std::to_string(magnitudes->size()) + " places",
                  std::to_string(place));
    }
    if (one) (*magnitudes)[place - 1] = static_cast<int8_t>((*magnitudes)[place - 1] + (1 << bit));
  }
}

// A [height][ranks] and B [ranks][width] of all planes side by side; plane b has the ranks
// from bounds[b] to bounds[b + 1].
struct Sides {
  std::vector<uint8_t> left, right;
  int64_t height, ranks, width;
  Dims bounds;
};

Sides read_sides(const KernelInfo &info, int64_t count) {
  const Dims left = info.integers("left_shape", 2, 1, kLargest);
  const Dims right = info.integers("right_shape", 2, 1, kLargest);
  Sides sides;
  sides.height = left[0];
  sides.ranks = left[1];
  sides.width = right[1];
  if (right[0] != left[1] || product({left[0], right[1]}, "left_shape and right_shape") != count) {
    throw wrong("attributes left_shape and right_shape",
                "[h, R] and [R, w] with h * w = " + std::to_string(count),
                shape_text(left.data(), 2) + " and " + shape_text(right.data(), 2));
  }
  sides.bounds = info.integers("bounds", kPlanes + 1, 0, kLargest);
  if (sides.bounds.front() != 0 || sides.bounds.back() != sides.ranks ||
      !std::is_sorted(sides.bounds.begin(), sides.bounds.end())) {
    throw wrong("attribute bounds", "numbers that rise from 0 to " + std::to_string(sides.ranks),
                shape_text(sides.bounds.data(), sides.bounds.size()));
  }
  int bits = 0;
  sides.left = read_codes(info, kPlanes + 2, "left", product(left, "left_shape"), &bits);
  if (bits == 1) {
    sides.right = read_codes(info, kPlanes + 3, "right", product(right, "right_shape"), &bits);
  }
  if (bits != 1) throw wrong("left and right", "codes of 1 bit", std::to_string(bits));
  return sides;
}

void add_factors(const Sides &sides, Magnitudes *magnitudes) {
  std::vector<uint8_t> row(static_cast<size_t>(sides.width));
  for (size_t bit = 0; bit < kPlanes; ++bit) {
    if (sides.bounds[bit] == sides.bounds[bit + 1]) continue;
    int8_t *to = magnitudes->data();
    for (int64_t h = 0; h < sides.height; ++h) {
      std::fill(row.begin(), row.end(), uint8_t{0});
      for (int64_t r = sides.bounds[bit]; r < sides.bounds[bit + 1]; ++r) {
        if (sides.left[static_cast<size_t>(h * sides.ranks + r)] == 0) continue;
        const uint8_t *right = sides.right.data() + r * sides.width;
        for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<uint8_t>(row[i] ^ right[i]);
      }
      for (const uint8_t one : row) {
        *to = static_cast<int8_t>(*to + (one << bit));
        ++to;
      }
    }
  }
}

void add_signs(const KernelInfo &info, int64_t count, Magnitudes *magnitudes) {
  int bits = 0;
  const std::vector<uint8_t> signs = read_codes(info, kPlanes + 1, "signs", count, &bits);
  if (bits != 1) throw wrong("signs", "codes of 1 bit", std::to_string(bits));
  size_t next = 0;
  for (int8_t &value : *magnitudes) {
    if (value == 0) continue;
    if (next == signs.size()) {
      throw wrong("signs", "one for each weight that is not zero", std::to_string(count));
    }
    if (signs[next++] != 0) value = static_cast<int8_t>(-value);
  }
}

std::vector<int8_t> decode(const KernelInfo &info, const WeightShape &shape, bool factored) {
  const int64_t count = product({shape.outputs, shape.taps, shape.channels}, "weight_shape");
  const Dims counts = info.integers("counts", kPlanes + 1, 1, kLargest);
  Magnitudes weight(static_cast<size_t>(count));
  for (size_t bit = 0; bit < kPlanes; ++bit) add_gaps(info, bit, counts[bit], &weight);
  if (factored) add_factors(read_sides(info, count), &weight);
  add_signs(info, counts[kPlanes], &weight);
  return weight;
}

Coded read(const KernelInfo &info, const Geometry &g, bool factored) {
  const WeightShape shape = read_decoded_shape(info, g);
  Coded coded;
  coded.scale = read_scale(info, factored ? 10 : 8, shape.outputs);
  coded.weights = pack_int8(g, decode(info, shape, factored));
  return coded;
}

Coded read_gaps(const KernelInfo &info, const Geometry &g, const Binarization &) {
  return read(info, g, false);
}

Coded read_factored(const KernelInfo &info, const Geometry &g, const Binarization &) {
  return read(info, g, true);
}

}  // namespace

constexpr Type kCodes = Type::kUint8;

extern const Method kComposite = {
    "Composite",
    8,
    {kCodes, kCodes, kCodes, kCodes, kCodes, kCodes, kCodes, Type::kFloat16},
    false,
    read_gaps};
extern const Method kCompositeFactored = {
    "CompositeFactored",
    10,
    {kCodes, kCodes, kCodes, kCodes, kCodes, kCodes, kCodes, kCodes, kCodes, Type::kFloat16},
    false,
    read_factored};

}  // namespace subbyte::ort
