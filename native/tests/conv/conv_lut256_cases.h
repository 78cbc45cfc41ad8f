// Random layers of 32 to 256 words, and what they compute by the formula of subbyte/conv_lut256.h
// alone.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "check.h"
#include "error.h"
#include "layers.h"
#include "conv_lut256/plan.h"

namespace {

namespace conv_lut256 = subbyte::conv_lut256;
using layers::Aligned;
using layers::pick;
using layers::Random;

constexpr int kSizes[] = {32, 64, 128, 256};

struct Case {
  subbyte_conv_lut256 shape;
  std::vector<uint8_t> codes, gain_codes, x;
  std::vector<int8_t> gains, codebook;
  int64_t out_height, out_width, channel_groups;

  int64_t pixels() const { return shape.geometry.images * out_height * out_width; }
};

std::vector<const conv_lut256::Level *> here() {
  std::vector<const conv_lut256::Level *> levels;
  for (const auto *level : conv_lut256::kLevels) {
    if (conv_lut256::kLevels.at(level->name) == level) levels.push_back(level);
  }
  return levels;
}

subbyte_conv_lut256 from(const subbyte_conv_lut16 &s, int words) {
  const subbyte_geometry &g = s.geometry;
  subbyte_conv_lut256 l = {};
  l.geometry.images = g.images;
  l.geometry.height = g.height;
  l.geometry.width = g.width;
  l.geometry.inputs = g.inputs;
  l.geometry.outputs = g.outputs;
  l.geometry.groups = g.groups;
  std::copy(g.kernel, g.kernel + 2, l.geometry.kernel);
  std::copy(g.strides, g.strides + 2, l.geometry.strides);
  std::copy(g.dilations, g.dilations + 2, l.geometry.dilations);
  std::copy(g.pads, g.pads + 4, l.geometry.pads);
  l.word_length = s.word_length;
  l.words = words;
  l.shared = s.shared;
  l.gain_levels = s.gain_levels;
  l.input_zero = s.input_zero;
  l.shift = s.shift;
  return l;
}

subbyte_conv_lut256 plain(int64_t height, int64_t width, int64_t inputs, int64_t outputs, int64_t d,
                          int words) {
  return from(layers::shape(height, width, inputs, outputs, d), words);
}

subbyte_conv_lut256 random_shape(Random &random) {
  return from(layers::random_shape(random), kSizes[pick(random, 0, 3)]);
}

// A word whose positive and negative entries each sum to at most 126.
void fill_word(int8_t *word, int64_t d, Random &random) {
  int room[2] = {126, 126};
  for (int64_t i = 0; i < d; ++i) {
    const int sign = pick(random, 0, 1);
    const int size = pick(random, 0, std::min(room[sign], pick(random, 1, 126)));
    room[sign] -= size;
    word[i] = static_cast<int8_t>(sign == 0 ? size : -size);
  }
}

Case fill(const subbyte_conv_lut256 &s, Random &random) {
  const subbyte_geometry &g = s.geometry;
  Case c = {};
  c.shape = s;
  conv_lut256::Plan plan;
  if (conv_lut256::make_plan(&s, &conv_lut256::kReference, &plan) != SUBBYTE_OK) {
    throw std::runtime_error(subbyte::last_error());
  }
  c.out_height = plan.out_height;
  c.out_width = plan.out_width;
  c.channel_groups = plan.channel_groups;
  const auto count = static_cast<size_t>(g.outputs * plan.taps * plan.channel_groups);
  c.codes.resize(count);
  for (uint8_t &code : c.codes) code = static_cast<uint8_t>(pick(random, 0, s.words - 1));
  if (s.gain_levels > 0) {
    c.gains.resize(static_cast<size_t>(s.gain_levels));
    for (int8_t &gain : c.gains) gain = static_cast<int8_t>(pick(random, -64, 64));
    c.gains[0] = static_cast<int8_t>(pick(random, 0, 1) * 128 - 64);
    c.gain_codes.resize(count);
    for (uint8_t &code : c.gain_codes) {
      code = static_cast<uint8_t>(pick(random, 0, s.gain_levels - 1));
    }
  }
  const int64_t books = s.shared != 0 ? 1 : g.groups * plan.channel_groups;
  c.codebook.resize(static_cast<size_t>(books * s.words * s.word_length));
  for (int64_t word = 0; word < books * s.words; ++word) {
    fill_word(c.codebook.data() + word * s.word_length, s.word_length, random);
  }
  c.x.resize(static_cast<size_t>(g.images * g.height * g.width * g.inputs));
  const bool extreme = pick(random, 0, 2) == 0;
  for (uint8_t &value : c.x) {
    value = static_cast<uint8_t>(extreme ? 255 * pick(random, 0, 1) : pick(random, 0, 255));
  }
  return c;
}

// entry(word, pixel) of group g by the formula; `x` is nullptr in the padding.
int32_t entry(const subbyte_conv_lut256 &s, int64_t g, const int8_t *word, const uint8_t *x,
              int64_t channels) {
  int32_t sum = s.shift == 0 ? 0 : (1 << s.shift) / 2 - static_cast<int32_t>(g % 2);
  for (int64_t i = 0; x != nullptr && i < std::min(s.word_length, channels); ++i) {
    sum += word[i] * (x[i] - s.input_zero);
  }
  return std::clamp(sum >> s.shift, -128, 127);
}

int32_t one_sum(const Case &c, int64_t image, int64_t row, int64_t column, int64_t o) {
  const subbyte_conv_lut256 &s = c.shape;
  const int64_t channels = s.geometry.inputs / s.geometry.groups,
                group = o / (s.geometry.outputs / s.geometry.groups);
  int32_t sum = 0;
  for (int64_t tap = 0; tap < s.geometry.kernel[0] * s.geometry.kernel[1]; ++tap) {
    const int64_t y = row * s.geometry.strides[0] - s.geometry.pads[0] +
                      tap / s.geometry.kernel[1] * s.geometry.dilations[0];
    const int64_t x = column * s.geometry.strides[1] - s.geometry.pads[1] +
                      tap % s.geometry.kernel[1] * s.geometry.dilations[1];
    const bool inside = y >= 0 && y < s.geometry.height && x >= 0 && x < s.geometry.width;
    for (int64_t g = 0; g < c.channel_groups; ++g) {
      const auto at = static_cast<size_t>(
          (o * s.geometry.kernel[0] * s.geometry.kernel[1] + tap) * c.channel_groups + g);
      const int64_t book = s.shared != 0 ? 0 : group * c.channel_groups + g;
      const int8_t *word = c.codebook.data() + (book * s.words + c.codes[at]) * s.word_length;
      const int64_t channel = group * channels + g * s.word_length;
      const int64_t pixel = (image * s.geometry.height + y) * s.geometry.width + x;
      const uint8_t *from_x = inside ? c.x.data() + pixel * s.geometry.inputs + channel : nullptr;
      const int32_t gain = s.gain_levels > 0 ? c.gains[c.gain_codes[at]] : 1;
      sum += gain * entry(s, g, word, from_x, channels - g * s.word_length);
    }
  }
  return sum;
}

std::vector<int32_t> sums(const Case &c) {
  std::vector<int32_t> all;
  for (int64_t image = 0; image < c.shape.geometry.images; ++image) {
    for (int64_t row = 0; row < c.out_height; ++row) {
      for (int64_t column = 0; column < c.out_width; ++column) {
        for (int64_t o = 0; o < c.shape.geometry.outputs; ++o) {
          all.push_back(one_sum(c, image, row, column, o));
        }
      }
    }
  }
  return all;
}

// Pack and run on one level; `misalign` shifts x and y, `split` is where a second call begins.
template <typename T>
std::vector<T> compute(const Case &c, const conv_lut256::Level &level, const subbyte_output &output,
                       size_t misalign = 0, int64_t split = 0) {
  conv_lut256::Plan plan;
  if (conv_lut256::make_plan(&c.shape, &level, &plan) != SUBBYTE_OK) {
    throw std::runtime_error(std::string("plan: ") + subbyte::last_error());
  }
  Aligned packed(plan.packed_size), scratch(plan.scratch_size);
  if (conv_lut256::pack(c.shape, plan, c.codes.data(), c.gain_codes.data(), c.gains.data(),
                        c.codebook.data(), packed.data()) != SUBBYTE_OK) {
    throw std::runtime_error(std::string("pack: ") + subbyte::last_error());
  }
  layers::Buffer<uint8_t> x(c.x.size(), misalign);
  std::memcpy(x.data(), c.x.data(), c.x.size());
  const auto count = static_cast<size_t>(c.pixels() * c.shape.geometry.outputs);
  layers::Buffer<T> y(count, misalign * sizeof(T));
  const int64_t rows = c.shape.geometry.images * c.out_height;
  const int64_t ends[] = {std::min(split, rows), rows};
  for (int64_t begin = 0, part = 0; part < 2; begin = ends[part++]) {
    if (conv_lut256::run(c.shape, plan, packed.data(), x.data(), &output, y.data(), begin,
                         ends[part], scratch.data()) != SUBBYTE_OK) {
      throw std::runtime_error(std::string("run: ") + subbyte::last_error());
    }
  }
  return std::vector<T>(y.data(), y.data() + count);
}

void same_sums(const Case &c, size_t misalign = 0, int64_t split = 0) {
  subbyte_output output = {};
  output.type = SUBBYTE_INT32;
  const std::vector<int32_t> expected = sums(c);
  const subbyte_conv_lut256 &s = c.shape;
  const subbyte_geometry &g = s.geometry;
  for (const auto *level : here()) {
    const auto got = compute<int32_t>(c, *level, output, misalign, split);
    for (size_t i = 0; i < expected.size(); ++i) {
      if (got[i] == expected[i]) continue;
      std::ostringstream text;
      text << level->name << " differs at " << i << ": " << got[i] << ", not " << expected[i]
           << "; words " << s.words << " d " << s.word_length << " gains " << s.gain_levels << " "
           << g.inputs << " -> " << g.outputs << " groups " << g.groups << " pixels " << c.pixels();
      check::failed(__FILE__, __LINE__, text.str());
    }
  }
}

// uint8 and float outputs: the same on every level, and the formula's within float32.
void same_outputs(const Case &c, Random &random) {
  const std::vector<int32_t> all = sums(c);
  std::vector<float> scale, bias;
  for (int64_t o = 0; o < c.shape.geometry.outputs; ++o) {
    scale.push_back(static_cast<float>(pick(random, -100, 100)) * 1e-4F);
    bias.push_back(static_cast<float>(pick(random, -8, 8)) / 2.0F);
  }
  subbyte_output output = {};
  output.scale = scale.data();
  output.bias = bias.data();
  output.high = 255;
  output.zero = pick(random, 0, 255);
  output.type = SUBBYTE_FLOAT;
  for (const auto *level : here()) {
    const auto got = compute<float>(c, *level, output, 1, 1);
    for (size_t i = 0; i < all.size(); ++i) {
      const size_t o = i % static_cast<size_t>(c.shape.geometry.outputs);
      volatile float v = static_cast<float>(all[i]) * scale[o];
      v = v + bias[o];
      CHECK_EQUAL(got[i], v);
    }
  }
  output.type = SUBBYTE_UINT8;
  const auto expected = compute<uint8_t>(c, conv_lut256::kReference, output, 1, 1);
  for (const auto *level : here()) CHECK(compute<uint8_t>(c, *level, output, 1, 1) == expected);
}

}  // namespace
