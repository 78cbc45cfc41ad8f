#include "layers.h"

#include <algorithm>
#include <cstring>
#include <sstream>
#include <stdexcept>

#include "error.h"

namespace layers {
namespace {

using subbyte::conv_lut16::Plan;

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

Plan checked_plan(const subbyte_conv_lut16 &shape, const subbyte::conv_lut16::Level &level) {
  Plan plan;
  if (subbyte::conv_lut16::make_plan(&shape, &level, &plan) != SUBBYTE_OK) {
    throw std::runtime_error(std::string("plan: ") + subbyte::last_error());
  }
  return plan;
}

}  // namespace

subbyte_conv_lut16 shape(int64_t height, int64_t width, int64_t inputs, int64_t outputs,
                         int64_t d) {
  subbyte_conv_lut16 s = {};
  subbyte_geometry &g = s.geometry;
  g.images = 1;
  g.height = height;
  g.width = width;
  g.inputs = inputs;
  g.outputs = outputs;
  g.groups = 1;
  for (int i = 0; i < 2; ++i) g.kernel[i] = g.strides[i] = g.dilations[i] = 1;
  s.word_length = d;
  s.shift = 7;
  return s;
}

subbyte_conv_lut16 random_shape(Random &random) {
  constexpr int kLengths[] = {1, 2, 3, 4, 6, 8, 16};
  const int groups = pick(random, 0, 3) == 0 ? pick(random, 2, 3) : 1;
  subbyte_conv_lut16 s =
      shape(pick(random, 1, 9), pick(random, 1, 11), groups * pick(random, 1, 40),
            groups * pick(random, 1, groups > 1 ? 20 : 150), kLengths[pick(random, 0, 6)]);
  subbyte_geometry &g = s.geometry;
  g.groups = groups;
  g.images = pick(random, 1, 2);
  for (int i = 0; i < 2; ++i) {
    g.kernel[i] = pick(random, 1, 3);
    g.strides[i] = pick(random, 1, 3);
    g.dilations[i] = pick(random, 1, 2);
    g.pads[i] = pick(random, 0, 2);
    g.pads[i + 2] = pick(random, 0, 2);
  }
  // Enough padding for one output.
  g.pads[2] += std::max<int64_t>(0, (g.kernel[0] - 1) * g.dilations[0] + 1 - g.height);
  g.pads[3] += std::max<int64_t>(0, (g.kernel[1] - 1) * g.dilations[1] + 1 - g.width);
  s.shared = pick(random, 0, 1);
  s.gain_levels = pick(random, 0, 1) * pick(random, 1, 16);
  constexpr int kZeros[] = {0, 128, 255, 77};
  s.input_zero = kZeros[pick(random, 0, 3)];
  s.shift = pick(random, 0, 8);
  return s;
}

Layer fill(const subbyte_conv_lut16 &s, Random &random) {
  const subbyte_geometry &g = s.geometry;
  const Plan plan = checked_plan(s, subbyte::conv_lut16::kReference);
  Layer layer = {};
  layer.shape = s;
  layer.out_height = plan.out_height;
  layer.out_width = plan.out_width;
  layer.words = plan.words;
  const auto count = static_cast<size_t>(g.outputs * plan.taps * plan.words);
  layer.codes.resize(count);
  for (uint8_t &code : layer.codes) code = static_cast<uint8_t>(pick(random, 0, 15));
  if (s.gain_levels > 0) {
    layer.gains.resize(static_cast<size_t>(s.gain_levels));
    for (int8_t &gain : layer.gains) gain = static_cast<int8_t>(pick(random, -64, 64));
    layer.gains[0] = static_cast<int8_t>(pick(random, 0, 1) * 128 - 64);
    layer.gain_codes.resize(count);
    for (uint8_t &code : layer.gain_codes) {
      code = static_cast<uint8_t>(pick(random, 0, s.gain_levels - 1));
    }
  }
  const int64_t books = s.shared != 0 ? 1 : g.groups * plan.words;
  layer.codebook.resize(static_cast<size_t>(books * 16 * s.word_length));
  for (int64_t word = 0; word < books * 16; ++word) {
    fill_word(layer.codebook.data() + word * s.word_length, s.word_length, random);
  }
  layer.x.resize(static_cast<size_t>(g.images * g.height * g.width * g.inputs));
  const int extreme = pick(random, 0, 2);
  for (uint8_t &value : layer.x) {
    value = static_cast<uint8_t>(extreme == 0 ? 255 * pick(random, 0, 1) : pick(random, 0, 255));
  }
  return layer;
}

namespace {

// entry(word, pixel) of group g by the formula; `x` is nullptr in the padding.
int32_t entry(const Layer &layer, int64_t g, const int8_t *word, const uint8_t *x,
              int64_t channels) {
  const subbyte_conv_lut16 &s = layer.shape;
  int32_t sum = s.shift == 0 ? 0 : (1 << s.shift) / 2 - static_cast<int32_t>(g % 2);
  for (int64_t i = 0; x != nullptr && i < std::min(s.word_length, channels); ++i) {
    sum += word[i] * (x[i] - s.input_zero);
  }
  return std::clamp(sum >> s.shift, -128, 127);
}

int32_t one_sum(const Layer &layer, int64_t image, int64_t row, int64_t column, int64_t o) {
  const subbyte_conv_lut16 &s = layer.shape;
  const subbyte_geometry &l = s.geometry;
  const int64_t channels = l.inputs / l.groups, group = o / (l.outputs / l.groups);
  int32_t sum = 0;
  for (int64_t tap = 0; tap < l.kernel[0] * l.kernel[1]; ++tap) {
    const int64_t y = row * l.strides[0] - l.pads[0] + tap / l.kernel[1] * l.dilations[0];
    const int64_t x = column * l.strides[1] - l.pads[1] + tap % l.kernel[1] * l.dilations[1];
    const bool inside = y >= 0 && y < l.height && x >= 0 && x < l.width;
    for (int64_t g = 0; g < layer.words; ++g) {
      const auto at = static_cast<size_t>((o * l.kernel[0] * l.kernel[1] + tap) * layer.words + g);
      const int64_t book = s.shared != 0 ? 0 : group * layer.words + g;
      const int8_t *word = layer.codebook.data() + (book * 16 + layer.codes[at]) * s.word_length;
      const int64_t channel = group * channels + g * s.word_length;
      const int64_t pixel = (image * l.height + y) * l.width + x;
      const uint8_t *from = inside ? layer.x.data() + pixel * l.inputs + channel : nullptr;
      const int32_t gain = s.gain_levels > 0 ? layer.gains[layer.gain_codes[at]] : 1;
      sum += gain * entry(layer, g, word, from, channels - g * s.word_length);
    }
  }
  return sum;
}

}  // namespace

std::vector<int32_t> sums(const Layer &layer) {
  std::vector<int32_t> all;
  for (int64_t image = 0; image < layer.shape.geometry.images; ++image) {
    for (int64_t row = 0; row < layer.out_height; ++row) {
      for (int64_t column = 0; column < layer.out_width; ++column) {
        for (int64_t o = 0; o < layer.shape.geometry.outputs; ++o) {
          all.push_back(one_sum(layer, image, row, column, o));
        }
      }
    }
  }
  return all;
}

std::string describe(const subbyte_conv_lut16 &s) {
  const subbyte_geometry &g = s.geometry;
  std::ostringstream text;
  text << g.images << "x" << g.height << "x" << g.width << "x" << g.inputs << " -> " << g.outputs
       << " groups " << g.groups << " kernel " << g.kernel[0] << "," << g.kernel[1] << " strides "
       << g.strides[0] << "," << g.strides[1] << " dilations " << g.dilations[0] << ","
       << g.dilations[1] << " pads " << g.pads[0] << "," << g.pads[1] << "," << g.pads[2] << ","
       << g.pads[3] << " d " << s.word_length << " shared " << s.shared << " gains "
       << s.gain_levels << " zero " << s.input_zero << " shift " << s.shift;
  return text.str();
}

template <typename T>
std::vector<T> compute(const Layer &layer, const subbyte::conv_lut16::Level &level,
                       const subbyte_output &output, size_t misalign, int64_t split) {
  const Plan plan = checked_plan(layer.shape, level);
  Aligned packed(plan.packed_size), scratch(plan.scratch_size);
  if (subbyte::conv_lut16::pack(layer.shape, plan, layer.codes.data(), layer.gain_codes.data(),
                                layer.gains.data(), layer.codebook.data(),
                                packed.data()) != SUBBYTE_OK) {
    throw std::runtime_error(std::string("pack: ") + subbyte::last_error());
  }
  Buffer<uint8_t> x(layer.x.size(), misalign);
  std::memcpy(x.data(), layer.x.data(), layer.x.size());
  const auto count = static_cast<size_t>(layer.pixels() * layer.shape.geometry.outputs);
  Buffer<T> y(count, misalign * sizeof(T));
  const int64_t rows = layer.shape.geometry.images * layer.out_height;
  const int64_t ends[] = {std::min(split, rows), rows};
  for (int64_t begin = 0, part = 0; part < 2; begin = ends[part++]) {
    if (subbyte::conv_lut16::run(layer.shape, plan, packed.data(), x.data(), &output, y.data(),
                                 begin, ends[part], scratch.data()) != SUBBYTE_OK) {
      throw std::runtime_error(std::string("run: ") + subbyte::last_error());
    }
  }
  return std::vector<T>(y.data(), y.data() + count);
}

template std::vector<int32_t> compute(const Layer &, const subbyte::conv_lut16::Level &,
                                      const subbyte_output &, size_t, int64_t);
template std::vector<float> compute(const Layer &, const subbyte::conv_lut16::Level &,
                                    const subbyte_output &, size_t, int64_t);
template std::vector<uint8_t> compute(const Layer &, const subbyte::conv_lut16::Level &,
                                      const subbyte_output &, size_t, int64_t);

}  // namespace layers
