// Every level of the unpack kernels against the int8 kernel's reference on the decoded weights,
// which test_conv_int8 holds against the formula.
#include <cstring>

#include "check.h"
#include "error.h"
#include "layers.h"
#include "conv_int4/plan.h"

namespace {

using layers::pick;
using layers::Random;
namespace conv_int8 = subbyte::conv_int8;
namespace conv_int4 = subbyte::conv_int4;

constexpr subbyte_output kRaw = {SUBBYTE_INT32, nullptr, nullptr, nullptr, 0, 0,
                                 0, 0, 0, 0, 0, nullptr};

struct Case {
  subbyte_conv_int4 shape;
  int64_t out_height, out_width;
  std::vector<uint8_t> codes, x;
  std::vector<int8_t> levels;

  int64_t rows() const { return shape.geometry.images * out_height; }
  size_t sums() const { return static_cast<size_t>(rows() * out_width * shape.geometry.outputs); }
};

subbyte_conv_int4 plain(int64_t height, int64_t width, int64_t inputs, int64_t outputs, int bits) {
  return {1, height, width, inputs, outputs, 1, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}, 0, bits};
}

conv_int4::Plan planned(const subbyte_conv_int4 &shape, const conv_int8::Level &level) {
  conv_int4::Plan plan;
  CHECK_EQUAL(conv_int4::make_plan(&shape, &level, &plan), SUBBYTE_OK);
  return plan;
}

// No level is 0: a weight read where there is none would show.
Case fill(const subbyte_conv_int4 &shape, Random &random) {
  const subbyte_geometry &g = shape.geometry;
  const conv_int4::Plan plan = planned(shape, conv_int8::kReference);
  Case made = {shape, plan.out_height, plan.out_width, {}, {}, {}};
  made.codes.resize(static_cast<size_t>(g.outputs * plan.taps * plan.channels));
  made.x.resize(static_cast<size_t>(g.images * g.height * g.width * g.inputs));
  for (int i = 0; i < 1 << shape.bits; ++i) {
    made.levels.push_back(static_cast<int8_t>(pick(random, 1, 127) - 128 * pick(random, 0, 1)));
  }
  const bool extreme = pick(random, 0, 1) == 1;
  for (auto &c : made.codes) c = static_cast<uint8_t>(pick(random, 0, (1 << shape.bits) - 1));
  for (auto &v : made.x) {
    v = static_cast<uint8_t>(extreme ? pick(random, 0, 1) * 255 : pick(random, 0, 255));
  }
  return made;
}

template <typename T>
std::vector<T> decoded(const Case &c, const subbyte_output &output) {
  const subbyte_conv_int8 shape = conv_int4::with_int8(c.shape);
  conv_int8::Plan plan;
  CHECK_EQUAL(conv_int8::make_plan(&shape, &conv_int8::kReference, &plan), SUBBYTE_OK);
  std::vector<int8_t> weights;
  for (const uint8_t code : c.codes) weights.push_back(c.levels[code]);
  layers::Aligned packed(plan.packed_size), scratch(plan.scratch_size);
  conv_int8::pack(shape, plan, weights.data(), packed.data());
  std::vector<T> y(c.sums());
  CHECK_EQUAL(conv_int8::run(shape, plan, packed.data(), c.x.data(), &output, y.data(), 0, c.rows(),
                             scratch.data()),
              SUBBYTE_OK);
  return y;
}

// Pack and run on one level, in two calls if `split` is not 0.
template <typename T>
std::vector<T> compute(const Case &c, const conv_int8::Level &level, const subbyte_output &output,
                       size_t misalign = 0, int64_t split = 0) {
  const conv_int4::Plan plan = planned(c.shape, level);
  layers::Aligned packed(plan.packed_size), scratch(plan.scratch_size);
  CHECK_EQUAL(conv_int4::pack(c.shape, plan, c.codes.data(), c.levels.data(), packed.data()),
              SUBBYTE_OK);
  // What scratch held before must not matter.
  std::memset(scratch.data(), 0x5a, plan.scratch_size);
  layers::Buffer<uint8_t> x(c.x.size(), misalign);
  std::copy(c.x.begin(), c.x.end(), x.data());
  layers::Buffer<T> y(c.sums(), misalign * sizeof(T));
  for (const auto &part : {std::pair<int64_t, int64_t>{0, split}, {split, c.rows()}}) {
    const int status = conv_int4::run(c.shape, plan, packed.data(), x.data(), &output, y.data(),
                                      part.first, part.second, scratch.data());
    if (status != SUBBYTE_OK) throw std::runtime_error(subbyte::last_error());
  }
  return std::vector<T>(y.data(), y.data() + c.sums());
}

std::string describe(const subbyte_conv_int4 &l) {
  const subbyte_geometry &g = l.geometry;
  std::ostringstream text;
  text << l.bits << " bits " << g.images << "x" << g.height << "x" << g.width << " " << g.inputs
       << "->" << g.outputs << " groups " << g.groups << " kernel " << g.kernel[0] << "x"
       << g.kernel[1] << " strides " << g.strides[0] << "," << g.strides[1] << " zero "
       << l.input_zero;
  return text.str();
}

template <typename Visit>
void each_level(const Visit &visit) {
  for (const conv_int8::Level *level : conv_int8::kLevels) {
    if (conv_int8::kLevels.at(level->name) == level) visit(*level);
  }
}

void check_case(const Case &c, size_t misalign = 0, int64_t split = 0) {
  const std::vector<int32_t> sums = decoded<int32_t>(c, kRaw);
  each_level([&](const conv_int8::Level &level) {
    if (compute<int32_t>(c, level, kRaw, misalign, split) != sums) {
      check::failed(__FILE__, __LINE__, std::string(level.name) + " " + describe(c.shape));
    }
  });
}

subbyte_conv_int4 random_shape(Random &random) {
  subbyte_conv_int4 l = plain(pick(random, 1, 9), pick(random, 1, 15), 1, 1, pick(random, 3, 4));
  l.geometry.images = pick(random, 1, 2);
  l.geometry.groups = pick(random, 0, 2) == 0 ? pick(random, 2, 9) : 1;
  l.geometry.inputs =
      l.geometry.groups * pick(random, 2, 40 / static_cast<int>(l.geometry.groups) + 2);
  l.geometry.outputs =
      l.geometry.groups * pick(random, 1, 150 / static_cast<int>(l.geometry.groups) + 1);
  layers::pick_window(random, 4, &l);
  l.input_zero = pick(random, 0, 1) == 0 ? 0 : pick(random, 1, 255);
  return l;
}

}  // namespace

// One unit, all levels of unpacking on their own, for weights of both sizes.
TEST(every_level_unpacks_as_the_reference_does) {
  Random random(1);
  for (const int bits : {3, 4}) {
    layers::Aligned codes(3 * static_cast<size_t>(bits) * conv_int4::kVector);
    auto *bytes = static_cast<uint8_t *>(codes.data());
    for (int i = 0; i < 3 * bits * conv_int4::kVector; ++i) {
      bytes[i] = static_cast<uint8_t>(pick(random, 0, 255));
    }
    int8_t levels[conv_int4::kCodeValues];
    for (int i = 0; i < conv_int4::kCodeValues; ++i)
      levels[i] = static_cast<int8_t>(i % (1 << bits) * 9 - 60);
    each_level([&](const conv_int8::Level &level) {
      const size_t size = 3 * conv_int4::kUnit * static_cast<size_t>(level.element);
      layers::Aligned expected(size), got(size);
      conv_int4::Unpack job = {bytes, bits, level.element, 3, levels, expected.data()};
      conv_int4::kReference.unpack(job);
      job.weights = got.data();
      conv_int4::kLevels.at(level.name)->unpack(job);
      CHECK(std::memcmp(expected.data(), got.data(), size) == 0);
    });
  }
}

TEST(every_level_equals_int8_on_random_layers) {
  Random random(2);
  for (int i = 0; i < 300; ++i) {
    const Case c = fill(random_shape(random), random);
    check_case(c, static_cast<size_t>(pick(random, 0, 3)),
               pick(random, 0, static_cast<int>(c.rows())));
  }
}

TEST(every_level_equals_int8_around_tile_edges) {
  Random random(3);
  for (const int outputs : {1, 15, 16, 17, 31, 33, 47, 48, 49, 63, 64, 65, 80, 129}) {
    for (const int pixels : {1, 2, 5, 6, 7, 8, 9, 11, 12, 13, 25}) {
      check_case(fill(plain(pixels, 1, 1 + outputs % 9, outputs, 3 + pixels % 2), random), 1,
                 pixels / 2);
    }
  }
}

// Panels are as many bytes on all levels, and so of different depths.
TEST(every_level_equals_int8_on_layers_of_many_panels) {
  Random random(4);
  for (const int bits : {3, 4}) {
    for (const int inputs : {6144, 6152, 12295, 30001}) {
      check_case(fill(plain(7, 1, inputs, 69, bits), random), 0, 3);
    }
    for (const int inputs : {696, 2735}) {
      subbyte_conv_int4 l = plain(4, 3, inputs, 66, bits);
      l.geometry.kernel[0] = l.geometry.kernel[1] = 3;
      std::fill(l.geometry.pads, l.geometry.pads + 4, 1);
      l.input_zero = 9;
      const Case c = fill(l, random);
      if (inputs == 2735) CHECK(planned(l, conv_int8::kReference).panels() > 1);
      check_case(c, 1, 2);
    }
  }
}

// Whole units a tap, and all numbers of pixels of a tile that unpacks its own weights.
TEST(every_level_equals_int8_where_tiles_unpack) {
  Random random(9);
  for (int pixels = 1; pixels <= 13; ++pixels) {
    for (const int inputs : {8, 16, 24, 28}) {
      subbyte_conv_int4 l = plain(pixels, 1, inputs, 64 + pixels * 16, 3 + pixels % 2);
      l.geometry.kernel[0] = 3;
      l.geometry.pads[0] = l.geometry.pads[2] = 1;
      check_case(fill(l, random), 1);
      l.bits = 7 - l.bits;
      check_case(fill(l, random), 0);
    }
  }
}

TEST(every_level_equals_int8_on_more_pixels_than_it_holds_sums_of) {
  Random random(5);
  subbyte_conv_int4 l = plain(14, 19, 110, 3, 3);
  l.geometry.kernel[0] = l.geometry.kernel[1] = 15;
  std::fill(l.geometry.pads, l.geometry.pads + 4, 7);
  const Case c = fill(l, random);
  each_level([&](const conv_int8::Level &level) {
    const conv_int4::Plan plan = planned(c.shape, level);
    CHECK(plan.panels() > 1 && plan.share < plan.band * plan.out_width);
  });
  check_case(c);
}

TEST(every_level_ends_as_int8_does) {
  Random random(6);
  for (int i = 0; i < 60; ++i) {
    const Case c = fill(random_shape(random), random);
    const layers::Ends ends(static_cast<size_t>(c.shape.geometry.outputs), c.sums(), random);
    const auto expected = decoded<uint8_t>(c, ends.output);
    each_level([&](const conv_int8::Level &level) {
      CHECK(compute<uint8_t>(c, level, ends.output, 1) == expected);
    });
  }
}

TEST(packed_weights_take_the_bits_of_their_codes) {
  each_level([](const conv_int8::Level &level) {
    subbyte_conv_int4 l = plain(14, 14, 256, 256, 3);
    l.geometry.kernel[0] = l.geometry.kernel[1] = 3;
    const double weights = 256 * 256 * 9;
    for (const int bits : {3, 4}) {
      l.bits = bits;
      const double bytes = static_cast<double>(planned(l, level).packed_size);
      CHECK(bytes >= weights * bits / 8 && bytes < weights * bits / 8 * 1.03);
    }
  });
}

TEST(bad_layers_and_codes_are_refused) {
  conv_int4::Plan plan;
  const auto refused = [&](const subbyte_conv_int4 &layer, const char *says) {
    return conv_int4::make_plan(&layer, &conv_int8::kReference, &plan) == SUBBYTE_BAD_SHAPE &&
           std::strstr(subbyte::last_error(), says) != nullptr;
  };
  CHECK(refused(plain(2, 2, 4, 4, 2), "bits"));
  CHECK(refused(plain(2, 2, 4, 4, 5), "bits"));
  CHECK(refused(plain(2, 2, 65537, 4, 3), "products of a sum"));
  subbyte_conv_int4 depthwise = plain(2, 2, 4, 4, 3);
  depthwise.geometry.groups = 4;
  CHECK(refused(depthwise, "groups"));
  Random random(7);
  Case c = fill(plain(2, 2, 4, 4, 3), random);
  plan = planned(c.shape, conv_int8::kPortable);
  layers::Aligned packed(plan.packed_size);
  c.codes[5] = 8;
  CHECK_EQUAL(conv_int4::pack(c.shape, plan, c.codes.data(), c.levels.data(), packed.data()),
              SUBBYTE_BAD_DATA);
}

TEST(weights_of_another_layer_are_refused) {
  Random random(8);
  const Case c = fill(plain(2, 2, 8, 8, 3), random);
  const conv_int4::Plan plan = planned(c.shape, conv_int8::kPortable);
  layers::Aligned packed(plan.packed_size), scratch(plan.scratch_size);
  CHECK_EQUAL(conv_int4::pack(c.shape, plan, c.codes.data(), c.levels.data(), packed.data()),
              SUBBYTE_OK);
  int32_t y[64];
  subbyte_conv_int4 other = c.shape;
  const auto status = [&] {
    return conv_int4::run(other, plan, packed.data(), c.x.data(), &kRaw, y, 0, 2, scratch.data());
  };
  CHECK_EQUAL(status(), SUBBYTE_OK);
  other.bits = 4;
  CHECK_EQUAL(status(), SUBBYTE_BAD_BUFFER);
  other = c.shape;
  other.input_zero = 7;
  CHECK_EQUAL(status(), SUBBYTE_BAD_BUFFER);
  // Nor are those of the int8 kernel.
  const subbyte_conv_int8 int8_shape = conv_int4::with_int8(c.shape);
  conv_int8::Plan int8_plan;
  CHECK_EQUAL(conv_int8::make_plan(&int8_shape, &conv_int8::kPortable, &int8_plan), SUBBYTE_OK);
  CHECK_EQUAL(conv_int8::run(int8_shape, int8_plan, packed.data(), c.x.data(), &kRaw, y, 0, 2,
                             scratch.data()),
              SUBBYTE_BAD_BUFFER);
}

int main(int argc, char **argv) { return check::main(argc, argv); }
