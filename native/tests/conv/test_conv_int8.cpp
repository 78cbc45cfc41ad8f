// Every level of the int8 kernels against the formula of subbyte/conv_int8.h.
#include <cmath>
#include <limits>

#include "check.h"
#include "error.h"
#include "conv_int8/plan.h"
#include "layers.h"

namespace {

using layers::pick;
using layers::Random;
namespace conv_int8 = subbyte::conv_int8;

struct Case {
  subbyte_conv_int8 shape;
  int64_t out_height, out_width;
  std::vector<int8_t> weights;
  std::vector<uint8_t> x;

  int64_t pixels() const { return shape.geometry.images * out_height * out_width; }
};

subbyte_conv_int8 plain(int64_t height, int64_t width, int64_t inputs, int64_t outputs) {
  return {1, height, width, inputs, outputs, 1, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}, 0};
}

Case fill(const subbyte_conv_int8 &shape, Random &random) {
  const subbyte_geometry &g = shape.geometry;
  Case made = {shape, 0, 0, {}, {}};
  conv_int8::Plan plan;
  CHECK_EQUAL(conv_int8::make_plan(&shape, &conv_int8::kReference, &plan), SUBBYTE_OK);
  made.out_height = plan.out_height;
  made.out_width = plan.out_width;
  made.weights.resize(static_cast<size_t>(g.outputs * plan.taps * plan.channels));
  made.x.resize(static_cast<size_t>(g.images * g.height * g.width * g.inputs));
  // Extremes in every second case: the largest sums, and what 16-bit sums would saturate at.
  const bool extreme = pick(random, 0, 1) == 1;
  for (auto &w : made.weights) {
    w = static_cast<int8_t>(extreme ? pick(random, 0, 1) * 255 - 128 : pick(random, -128, 127));
  }
  for (auto &v : made.x) {
    v = static_cast<uint8_t>(extreme ? pick(random, 0, 1) * 255 : pick(random, 0, 255));
  }
  return made;
}

std::vector<int32_t> expected(const Case &c) {
  const subbyte_conv_int8 &l = c.shape;
  const subbyte_geometry &g = l.geometry;
  const int64_t channels = g.inputs / g.groups, outputs = g.outputs / g.groups;
  std::vector<int32_t> sums;
  for (int64_t pixel = 0; pixel < c.pixels(); ++pixel) {
    const int64_t image = pixel / (c.out_height * c.out_width);
    const int64_t row = pixel / c.out_width % c.out_height, column = pixel % c.out_width;
    for (int64_t o = 0; o < g.outputs; ++o) {
      int64_t sum = 0;
      for (int64_t tap = 0; tap < g.kernel[0] * g.kernel[1]; ++tap) {
        const int64_t y = row * g.strides[0] - g.pads[0] + tap / g.kernel[1] * g.dilations[0];
        const int64_t x = column * g.strides[1] - g.pads[1] + tap % g.kernel[1] * g.dilations[1];
        if (y < 0 || y >= g.height || x < 0 || x >= g.width) continue;
        for (int64_t i = 0; i < channels; ++i) {
          const int64_t at =
              ((image * g.height + y) * g.width + x) * g.inputs + o / outputs * channels + i;
          const int64_t w = (o * g.kernel[0] * g.kernel[1] + tap) * channels + i;
          sum += c.weights[static_cast<size_t>(w)] *
                 (c.x[static_cast<size_t>(at)] - l.input_zero);
        }
      }
      sums.push_back(static_cast<int32_t>(sum));
    }
  }
  return sums;
}

// Pack and run on one level, in two calls if `split` is not 0.
template <typename T>
std::vector<T> compute(const Case &c, const conv_int8::Level &level, const subbyte_output &output,
                       size_t misalign = 0, int64_t split = 0) {
  conv_int8::Plan plan;
  CHECK_EQUAL(conv_int8::make_plan(&c.shape, &level, &plan), SUBBYTE_OK);
  layers::Aligned packed(plan.packed_size), scratch(plan.scratch_size);
  conv_int8::pack(c.shape, plan, c.weights.data(), packed.data());
  layers::Buffer<uint8_t> x(c.x.size(), misalign);
  std::copy(c.x.begin(), c.x.end(), x.data());
  const auto count = static_cast<size_t>(c.pixels() * c.shape.geometry.outputs);
  layers::Buffer<T> y(count, misalign * sizeof(T));
  const int64_t rows = c.shape.geometry.images * c.out_height;
  for (const auto &part : {std::pair<int64_t, int64_t>{0, split}, {split, rows}}) {
    const int status = conv_int8::run(c.shape, plan, packed.data(), x.data(), &output, y.data(),
                                      part.first, part.second, scratch.data());
    if (status != SUBBYTE_OK) throw std::runtime_error(subbyte::last_error());
  }
  return std::vector<T>(y.data(), y.data() + count);
}

std::string describe(const subbyte_conv_int8 &l) {
  const subbyte_geometry &g = l.geometry;
  std::ostringstream text;
  text << g.images << "x" << g.height << "x" << g.width << " " << g.inputs << "->" << g.outputs
       << " groups " << g.groups << " kernel " << g.kernel[0] << "x" << g.kernel[1] << " strides "
       << g.strides[0] << "," << g.strides[1] << " dilations " << g.dilations[0] << ","
       << g.dilations[1] << " pads " << g.pads[0] << "," << g.pads[1] << "," << g.pads[2] << ","
       << g.pads[3] << " zero " << l.input_zero;
  return text.str();
}

template <typename Visit>
void each_level(const Visit &visit) {
  for (const conv_int8::Level *level : conv_int8::kLevels) {
    if (conv_int8::kLevels.at(level->name) == level) visit(*level);
  }
}

void check_case(const Case &c, size_t misalign, int64_t split) {
  const subbyte_output raw = {SUBBYTE_INT32, nullptr, nullptr, nullptr, 0, 0,
                              0, 0, 0, 0, 0, nullptr};
  const std::vector<int32_t> sums = expected(c);
  each_level([&](const conv_int8::Level &level) {
    const std::vector<int32_t> got = compute<int32_t>(c, level, raw, misalign, split);
    for (size_t i = 0; i < sums.size(); ++i) {
      if (got[i] != sums[i]) {
        check::failed(__FILE__, __LINE__,
                      std::string(level.name) + " " + describe(c.shape) + " at " +
                          std::to_string(i) + ": " + std::to_string(got[i]) + " is not " +
                          std::to_string(sums[i]));
      }
    }
  });
}

subbyte_conv_int8 random_shape(Random &random) {
  subbyte_conv_int8 l = plain(pick(random, 1, 9), pick(random, 1, 15), 1, 1);
  l.geometry.images = pick(random, 1, 2);
  l.geometry.groups = pick(random, 0, 2) == 0 ? pick(random, 1, 40) : 1;
  l.geometry.inputs =
      l.geometry.groups *
      (pick(random, 0, 1) == 0 ? 1 : pick(random, 1, 40 / static_cast<int>(l.geometry.groups) + 1));
  l.geometry.outputs =
      l.geometry.groups * (pick(random, 0, 1) == 0
                               ? 1
                               : pick(random, 1, 150 / static_cast<int>(l.geometry.groups) + 1));
  layers::pick_window(random, 4, &l);
  l.input_zero = pick(random, 0, 1) == 0 ? 0 : pick(random, 1, 255);
  return l;
}

void check_ends(const Case &c, Random &random) {
  const auto outputs = static_cast<size_t>(c.shape.geometry.outputs);
  layers::Ends ends(outputs, static_cast<size_t>(c.pixels()) * outputs, random);
  subbyte_output &output = ends.output;
  const auto bytes = compute<uint8_t>(c, conv_int8::kReference, output);
  output.type = SUBBYTE_FLOAT;
  const auto floats = compute<float>(c, conv_int8::kReference, output);
  each_level([&](const conv_int8::Level &level) {
    output.type = SUBBYTE_UINT8;
    CHECK(compute<uint8_t>(c, level, output, 1) == bytes);
    output.type = SUBBYTE_FLOAT;
    CHECK(compute<float>(c, level, output, 1) == floats);
  });
  output.type = SUBBYTE_UINT8;
  output.residual = nullptr;
  const auto alone = compute<uint8_t>(c, conv_int8::kReference, output);
  each_level([&](const conv_int8::Level &level) {
    CHECK(compute<uint8_t>(c, level, output, 1) == alone);
  });
}

}  // namespace

TEST(every_level_computes_the_formula_on_random_layers) {
  Random random(1);
  for (int i = 0; i < 400; ++i) {
    const Case c = fill(random_shape(random), random);
    const int64_t rows = c.shape.geometry.images * c.out_height;
    check_case(c, static_cast<size_t>(pick(random, 0, 3)), pick(random, 0, static_cast<int>(rows)));
  }
}

TEST(every_level_computes_the_formula_around_tile_edges) {
  Random random(2);
  for (const int outputs : {1, 15, 16, 17, 31, 33, 47, 48, 49, 63, 64, 65, 80, 129}) {
    for (const int pixels : {1, 2, 5, 6, 7, 8, 9, 11, 12, 13, 25}) {
      check_case(fill(plain(pixels, 1, 1 + outputs % 9, outputs), random), 1, pixels / 2);
    }
  }
}

TEST(every_level_computes_first_layers) {
  Random random(3);
  subbyte_conv_int8 l = plain(17, 19, 3, 64);
  l.geometry.kernel[0] = l.geometry.kernel[1] = 7;
  l.geometry.strides[0] = l.geometry.strides[1] = 2;
  std::fill(l.geometry.pads, l.geometry.pads + 4, 3);
  l.input_zero = 114;
  check_case(fill(l, random), 3, 4);
}

// With a stride, a staged pixel can be as long as the step from one to the next in x.
TEST(every_level_computes_groups_with_strides) {
  Random random(8);
  for (const int width : {9, 10}) {
    for (const int channels : {1, 2, 3, 4}) {
      for (const int stride : {1, 2, 3, 4}) {
        subbyte_conv_int8 l = plain(3, width, 7 * channels, 14);
        l.geometry.groups = 7;
        l.geometry.strides[1] = stride;
        check_case(fill(l, random), 0, 1);
      }
    }
  }
}

// Of channels in steps and in whole registers of steps, merged or not.
TEST(every_level_computes_the_formula_around_step_edges) {
  Random random(9);
  for (int inputs = 1; inputs <= 70; ++inputs) {
    for (const int kernel : {1, 2}) {
      subbyte_conv_int8 l = plain(1, 1 + inputs % 14, inputs, 16 + inputs % 3);
      l.geometry.kernel[1] = kernel;
      l.geometry.pads[1] = kernel - 1;
      l.input_zero = inputs;
      check_case(fill(l, random), 1, 0);
    }
  }
}

TEST(every_level_computes_depthwise_layers_around_tile_edges) {
  Random random(10);
  for (const int channels : {2, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65}) {
    for (int width = 1; width <= 15; ++width) {
      subbyte_conv_int8 l = plain(3, width, channels, channels);
      l.geometry.groups = channels;
      l.geometry.kernel[0] = 1 + width % 3;
      l.geometry.kernel[1] = 1 + channels % 3;
      l.geometry.pads[1] = 1;
      l.geometry.pads[3] = 1;
      l.geometry.strides[1] = 1 + width % 2;
      l.input_zero = channels;
      check_case(fill(l, random), 1, 1);
    }
  }
}

TEST(every_level_computes_bands_of_rows) {
  Random random(4);
  subbyte_conv_int8 l = plain(90, 70, 64, 3);
  l.geometry.kernel[0] = 3;
  l.geometry.pads[0] = 1;
  check_case(fill(l, random), 0, 41);
  check_case(fill(plain(900, 5, 64, 3), random), 0, 500);
  l = plain(120, 80, 40, 40);
  l.geometry.groups = 40;
  l.geometry.kernel[0] = l.geometry.kernel[1] = 3;
  std::fill(l.geometry.pads, l.geometry.pads + 4, 1);
  check_case(fill(l, random), 0, 77);
}

TEST(every_level_computes_depthwise_layers_of_three_by_three) {
  Random random(8);
  for (int width = 1; width <= 14; ++width) {
    for (const int stride : {1, 2, 3}) {
      subbyte_conv_int8 l = plain(5, width, 30 + width, 30 + width);
      l.geometry.groups = l.geometry.inputs;
      l.geometry.kernel[0] = l.geometry.kernel[1] = 3;
      l.geometry.strides[0] = l.geometry.strides[1] = stride;
      l.geometry.dilations[1] = width > 9 ? 2 : 1;
      std::fill(l.geometry.pads, l.geometry.pads + 4, 2);
      l.input_zero = width;
      check_case(fill(l, random), 1, 1);
    }
  }
}

TEST(every_level_computes_long_sums) {
  Random random(5);
  check_case(fill(plain(1, 1, 65536, 17), random), 0, 0);
}

TEST(every_level_ends_as_the_reference_does) {
  Random random(6);
  for (int i = 0; i < 60; ++i) check_ends(fill(random_shape(random), random), random);
  // Whole blocks of 16 outputs, with and without a rest.
  for (const int outputs : {32, 64, 80, 96, 100}) {
    check_ends(fill(plain(9, 5, 7, outputs), random), random);
    subbyte_conv_int8 l = plain(9, 5, outputs, outputs);
    l.geometry.groups = outputs;
    l.geometry.kernel[0] = l.geometry.kernel[1] = 3;
    check_ends(fill(l, random), random);
  }
}

TEST(a_level_that_the_cpu_lacks_gives_way_to_the_next) {
  for (const conv_int8::Level *level : conv_int8::kLevels) {
    const conv_int8::Level *found = conv_int8::kLevels.at(level->name);
    CHECK(found->needs == nullptr || found->needs());
    if (found != level) {
      std::cout << "level " << level->name << ": left out, this CPU lacks it" << std::endl;
    }
  }
}

TEST(bad_layers_are_refused) {
  conv_int8::Plan plan;
  const auto refused = [&](const subbyte_conv_int8 &layer) {
    return conv_int8::make_plan(&layer, &conv_int8::kReference, &plan) == SUBBYTE_BAD_SHAPE;
  };
  CHECK(refused(plain(0, 1, 1, 1)));
  CHECK(refused(plain(1, 1, 65537, 1)));
  CHECK(refused(plain(int64_t{1} << 30, int64_t{1} << 30, 1, 1)));
  subbyte_conv_int8 layer = plain(4, 4, 6, 6);
  layer.geometry.groups = 4;
  CHECK(refused(layer));
  layer = plain(4, 4, 6, 6);
  layer.geometry.kernel[1] = 5;
  CHECK(refused(layer));
  layer = plain(4, 4, 6, 6);
  layer.input_zero = 256;
  CHECK(refused(layer));
}

TEST(weights_of_another_layer_are_refused) {
  Random random(7);
  const Case c = fill(plain(2, 2, 8, 8), random);
  conv_int8::Plan plan;
  CHECK_EQUAL(conv_int8::make_plan(&c.shape, &conv_int8::kPortable, &plan), SUBBYTE_OK);
  layers::Aligned packed(plan.packed_size), scratch(plan.scratch_size);
  conv_int8::pack(c.shape, plan, c.weights.data(), packed.data());
  subbyte_conv_int8 other = c.shape;
  other.input_zero = 7;
  int32_t y[64];
  const subbyte_output raw = {SUBBYTE_INT32, nullptr, nullptr, nullptr, 0, 0,
                              0, 0, 0, 0, 0, nullptr};
  CHECK_EQUAL(conv_int8::run(other, plan, packed.data(), c.x.data(), &raw, y, 0, 2, scratch.data()),
              SUBBYTE_BAD_BUFFER);
  other = c.shape;
  other.geometry.dilations[1] = 2;
  CHECK_EQUAL(conv_int8::run(other, plan, packed.data(), c.x.data(), &raw, y, 0, 2, scratch.data()),
              SUBBYTE_BAD_BUFFER);
}

int main(int argc, char **argv) { return check::main(argc, argv); }
