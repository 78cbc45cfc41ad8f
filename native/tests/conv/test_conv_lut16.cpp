// Whole layers: every level gives the sums of the formula, and the same y.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "check.h"
#include "error.h"
#include "layers.h"

namespace {

using layers::Layer;
using layers::pick;
using layers::Random;
using subbyte::conv_lut16::kLevels;
using subbyte::conv_lut16::Level;

std::vector<const Level *> here() {
  std::vector<const Level *> levels;
  for (const Level *level : kLevels) {
    if (kLevels.at(level->name) == level) levels.push_back(level);
  }
  return levels;
}

void same_sums(const Layer &layer, size_t misalign = 0, int64_t split = 0) {
  subbyte_output output = {};
  output.type = SUBBYTE_INT32;
  const std::vector<int32_t> expected = layers::sums(layer);
  for (const Level *level : here()) {
    const auto got = layers::compute<int32_t>(layer, *level, output, misalign, split);
    for (size_t i = 0; i < expected.size(); ++i) {
      if (got[i] == expected[i]) continue;
      check::failed(__FILE__, __LINE__,
                    std::string(level->name) + " differs at " + std::to_string(i) + ": " +
                        std::to_string(got[i]) + ", not " + std::to_string(expected[i]) + "; " +
                        layers::describe(layer.shape));
    }
  }
}

TEST(random_layers) {
  Random random(1);
  for (int i = 0; i < 150; ++i) {
    const Layer layer = layers::fill(layers::random_shape(random), random);
    same_sums(layer, static_cast<size_t>(pick(random, 0, 5)), pick(random, 0, 4));
  }
}

// Every number of pixels and of outputs around the tiles' edges, with gain and without.
TEST(tile_edges) {
  Random random(2);
  for (int gains : {0, 4}) {
    for (int64_t outputs : {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 49, 63, 64, 65, 100, 129}) {
      for (int64_t pixels : {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 17}) {
        subbyte_conv_lut16 shape = layers::shape(1, pixels, 16, outputs, 4);
        shape.gain_levels = gains;
        same_sums(layers::fill(shape, random));
      }
    }
  }
}

// Gains with a common divisor, which kernels may take out; and 1 and -1, which have none.
TEST(small_gains) {
  Random random(8);
  const std::vector<int8_t> all[] = {{64, -64, 32, -32}, {-7, 7, 0, 14}, {1, -1, 1, 1}, {0, 0, 0, 0},
                                     {64, -64, 16, -16}};
  for (const std::vector<int8_t> &gains : all) {
    for (int64_t outputs : {15, 16, 17, 32, 33, 49}) {
      for (int64_t pixels : {1, 2, 3, 4, 5, 7}) {
        subbyte_conv_lut16 shape = layers::shape(1, pixels, 600, outputs, 4);
        shape.gain_levels = static_cast<int32_t>(gains.size());
        Layer layer = layers::fill(shape, random);
        layer.gains = gains;
        same_sums(layer);
      }
    }
  }
}

// Every number of channels around words and vectors of words, at the tensor's very end.
TEST(channel_edges) {
  Random random(3);
  for (int64_t d : {1, 2, 3, 4, 5, 6, 8, 12, 16}) {
    for (int64_t channels = 1; channels <= 4 * d + 2; ++channels) {
      subbyte_conv_lut16 shape = layers::shape(2, 3, channels, 18, d);
      shape.geometry.kernel[1] = 2;
      shape.geometry.pads[3] = 1;
      shape.input_zero = 128;
      shape.gain_levels = pick(random, 0, 1) * 4;
      same_sums(layers::fill(shape, random));
    }
  }
}

TEST(kernels_larger_than_the_image) {
  Random random(4);
  subbyte_conv_lut16 shape = layers::shape(2, 3, 8, 16, 4);
  shape.geometry.kernel[0] = 7;
  shape.geometry.kernel[1] = 5;
  for (int64_t &pad : shape.geometry.pads) pad = 3;
  same_sums(layers::fill(shape, random));
}

TEST(output_that_lies_in_the_padding_alone) {
  Random random(5);
  subbyte_conv_lut16 shape = layers::shape(1, 1, 4, 3, 4);
  for (int64_t &pad : shape.geometry.pads) pad = 4;
  shape.geometry.strides[0] = shape.geometry.strides[1] = 4;
  same_sums(layers::fill(shape, random));
}

// Tables of all rows exceed the band: rows move from band to band.
TEST(bands) {
  Random random(6);
  for (int64_t stride : {1, 2, 4}) {
    subbyte_conv_lut16 shape = layers::shape(41, 30, 64, 17, 2);
    shape.geometry.kernel[0] = shape.geometry.kernel[1] = 3;
    for (int64_t &pad : shape.geometry.pads) pad = 1;
    shape.geometry.strides[0] = stride;
    const Layer layer = layers::fill(shape, random);
    subbyte::conv_lut16::Plan plan;
    CHECK_EQUAL(subbyte::conv_lut16::make_plan(&shape, &subbyte::conv_lut16::kPortable, &plan),
                SUBBYTE_OK);
    CHECK(plan.band < plan.out_height);
    same_sums(layer, 3, 13);
  }
}

// Every entry the largest or the least one, in more look-ups than 16-bit sums can hold, with
// the largest gains: nothing saturates or wraps but the entries.
TEST(largest_sums) {
  Random random(7);
  for (int sign : {1, -1}) {
    for (int gain : {0, 64, -64, 63}) {
      subbyte_conv_lut16 shape = layers::shape(3, 1, 4200, 20, 2);
      shape.geometry.kernel[0] = 2;
      shape.shift = 0;
      shape.gain_levels = gain != 0 ? 2 : 0;
      Layer layer = layers::fill(shape, random);
      if (gain != 0) layer.gains = {static_cast<int8_t>(gain), 32};
      std::fill(layer.gain_codes.begin(), layer.gain_codes.end(), uint8_t{0});
      std::fill(layer.x.begin(), layer.x.end(), uint8_t{255});
      std::fill(layer.codebook.begin(), layer.codebook.end(), static_cast<int8_t>(63 * sign));
      same_sums(layer);
    }
  }
}

struct Epilogue {
  std::vector<float> scale, bias;
  std::vector<uint8_t> residual;
  subbyte_output output;
};

Epilogue random_epilogue(const Layer &layer, Random &random, int type) {
  Epilogue e = {};
  std::uniform_real_distribution<float> unit(-1.0F, 1.0F);
  for (int64_t o = 0; o < layer.shape.geometry.outputs; ++o) {
    e.scale.push_back(0.02F * unit(random));
    // Halves, so that ties are rounded too.
    e.bias.push_back(static_cast<float>(pick(random, -8, 8)) / 2.0F);
  }
  e.scale[0] = 0.5F;
  for (int64_t i = 0; i < layer.pixels() * layer.shape.geometry.outputs; ++i) {
    e.residual.push_back(static_cast<uint8_t>(pick(random, 0, 255)));
  }
  e.output.type = type;
  e.output.residual_scale = 0.375F;
  e.output.residual_zero = 128 * pick(random, 0, 1);
  e.output.inner_scale = static_cast<float>(pick(random, 0, 1)) * 0.7F;
  e.output.inner_zero = pick(random, 0, 255);
  e.output.zero = 128 * pick(random, 0, 1);
  e.output.low = pick(random, 0, 1) * 100;
  e.output.high = 255 - pick(random, 0, 1) * 55;
  return e;
}

// y by the formula, in the same float operations; std::nearbyint rounds half to even.
float expected(const Layer &layer, const Epilogue &e, const std::vector<int32_t> &sums, size_t i) {
  const size_t o = i % static_cast<size_t>(layer.shape.geometry.outputs);
  volatile float v = static_cast<float>(sums[i]) * e.scale[o];
  v = v + e.bias[o];
  if (e.output.residual != nullptr) {
    if (e.output.inner_scale != 0) {
      const double inner = std::nearbyint(static_cast<double>(v));
      const double low = -e.output.inner_zero, high = 255 - e.output.inner_zero;
      v = static_cast<float>(std::min(std::max(inner, low), high)) * e.output.inner_scale;
    }
    const volatile float r =
        static_cast<float>(e.residual[i] - e.output.residual_zero) * e.output.residual_scale;
    v = v + r;
  }
  if (e.output.type == SUBBYTE_FLOAT) return v;
  const double q = std::nearbyint(static_cast<double>(v)) + e.output.zero;
  return static_cast<float>(std::min<double>(std::max<double>(q, e.output.low), e.output.high));
}

template <typename T>
void same_outputs(const Layer &layer, const Epilogue &e, size_t misalign) {
  const std::vector<int32_t> sums = layers::sums(layer);
  for (const Level *level : here()) {
    const auto got = layers::compute<T>(layer, *level, e.output, misalign, 1);
    for (size_t i = 0; i < got.size(); ++i) {
      CHECK_EQUAL(static_cast<float>(got[i]), expected(layer, e, sums, i));
    }
  }
}

TEST(outputs) {
  Random random(8);
  for (int i = 0; i < 40; ++i) {
    const Layer layer = layers::fill(layers::random_shape(random), random);
    for (bool residual : {false, true}) {
      for (int type : {SUBBYTE_UINT8, SUBBYTE_FLOAT}) {
        Epilogue e = random_epilogue(layer, random, type);
        e.output.scale = e.scale.data();
        e.output.bias = e.bias.data();
        e.output.residual = residual ? e.residual.data() : nullptr;
        const auto misalign = static_cast<size_t>(i % 3);
        if (type == SUBBYTE_FLOAT) same_outputs<float>(layer, e, misalign);
        if (type == SUBBYTE_UINT8) same_outputs<uint8_t>(layer, e, misalign);
      }
    }
  }
}

// Values no integer holds: infinities saturate, NaN becomes the lower bound.
TEST(outputs_without_a_number) {
  Random random(9);
  const Layer layer = layers::fill(layers::shape(1, 2, 8, 19, 4), random);
  const float infinity = std::numeric_limits<float>::infinity();
  const float values[] = {infinity, -infinity, std::numeric_limits<float>::quiet_NaN(), 1e30F};
  const int clamped[] = {200, 10, 10, 200};
  for (int i = 0; i < 4; ++i) {
    const std::vector<float> scale(19, 0.0F), bias(19, values[i]);
    subbyte_output output = {};
    output.scale = scale.data();
    output.bias = bias.data();
    output.low = 10;
    output.high = 200;
    for (const Level *level : here()) {
      for (uint8_t y : layers::compute<uint8_t>(layer, *level, output)) {
        CHECK_EQUAL(static_cast<int>(y), clamped[i]);
      }
    }
  }
}

}  // namespace

int main(int argc, char **argv) { return check::main(argc, argv); }
