// Random binary layers, and what they compute by the formulas of subbyte/conv_binary.h alone.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "conv_binary/plan.h"
#include "check.h"
#include "error.h"
#include "layers.h"

namespace {

using layers::pick;
using layers::Random;
namespace conv_binary = subbyte::conv_binary;

using Floats = std::vector<float>;
using Pixels = std::vector<Floats>;  // the values of a vector, pixel by pixel

struct Case {
  subbyte_conv_binary shape;
  int64_t out_height, out_width;
  std::vector<uint8_t> signs;
  Floats x;  // bytes too
};

subbyte_conv_binary plain(int64_t height, int64_t width, int64_t inputs, int64_t outputs,
                          int order = 1, int scales = SUBBYTE_PER_COLUMN) {
  return {1,      height, width,         inputs, outputs, 1, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0},
          order, scales, SUBBYTE_FLOAT, 0,      0};
}

int64_t taps_of(const subbyte_conv_binary &l) {
  return l.geometry.kernel[0] * l.geometry.kernel[1];
}

// Values of many sizes, among them zeros of both signs and a few that are often met again, so
// that residuals become exactly zero.
float random_value(Random &random) {
  switch (pick(random, 0, 4)) {
    case 0:
      return pick(random, 0, 1) == 0 ? 0.0F : -0.0F;
    case 1:
      return static_cast<float>(pick(random, -2, 2));
    default:
      return std::ldexp(static_cast<float>(pick(random, -1000000, 1000000)), pick(random, -24, -16));
  }
}

Case fill(const subbyte_conv_binary &shape, Random &random) {
  const subbyte_geometry &g = shape.geometry;
  Case made = {shape, 0, 0, {}, {}};
  conv_binary::Plan plan;
  if (conv_binary::make_plan(&shape, &conv_binary::kReference, &plan) != SUBBYTE_OK) {
    throw std::runtime_error(subbyte::last_error());
  }
  made.out_height = plan.out_height;
  made.out_width = plan.out_width;
  made.signs.resize(static_cast<size_t>((g.outputs * plan.taps * plan.channels + 7) / 8));
  for (auto &byte : made.signs) byte = static_cast<uint8_t>(pick(random, 0, 255));
  made.x.resize(static_cast<size_t>(g.images * g.height * g.width * g.inputs));
  const bool equal = pick(random, 0, 3) == 0;  // residuals of order 1 are all zeros
  for (float &v : made.x) {
    if (shape.input_type == SUBBYTE_UINT8) {
      v = static_cast<float>(pick(random, 0, 255));
    } else {
      v = equal ? static_cast<float>(pick(random, 0, 1) * 2 - 1) : random_value(random);
    }
  }
  return made;
}

// The values of one pixel and group; zeros outside.
Floats pixel_of(const Case &c, int64_t image, int64_t group, int64_t y, int64_t x) {
  const subbyte_conv_binary &l = c.shape;
  const subbyte_geometry &g = l.geometry;
  const int64_t channels = g.inputs / g.groups;
  Floats values(static_cast<size_t>(channels), 0.0F);
  if (y < 0 || y >= g.height || x < 0 || x >= g.width) return values;
  for (int64_t i = 0; i < channels; ++i) {
    const int64_t at = ((image * g.height + y) * g.width + x) * g.inputs + group * channels + i;
    const float v = c.x[static_cast<size_t>(at)];
    values[static_cast<size_t>(i)] =
        l.input_type == SUBBYTE_FLOAT
            ? v + 0.0F
            : static_cast<float>(static_cast<int>(v) - l.input_zero);
  }
  return values;
}

float sum_of(const Pixels &pixels) {
  float partial[16] = {};
  for (const Floats &pixel : pixels) {
    for (size_t i = 0; i < pixel.size(); ++i) partial[i % 16] += std::fabs(pixel[i]);
  }
  for (const int apart : {8, 4, 2, 1}) {
    for (int l = 0; l < apart; ++l) partial[l] += partial[l + apart];
  }
  return partial[0];
}

// What the orders of a vector are: signs H_k as +-1, and the sums of |r_{k-1}|.
struct Orders {
  std::vector<Pixels> signs;
  Floats sums;
};

// `first`: the sum of |r_0|; `betas`: given, or empty for the vector's own.
Orders orders_of(Pixels r, int order, float first, const Floats &betas) {
  const auto size = static_cast<float>(r.size() * r[0].size());
  Orders made;
  for (int k = 0; k < order; ++k) {
    made.sums.push_back(k == 0 ? first : sum_of(r));
    made.signs.push_back(r);
    const float beta = betas.empty() ? made.sums.back() / size : betas[static_cast<size_t>(k)];
    for (size_t t = 0; t < r.size(); ++t) {
      for (size_t i = 0; i < r[t].size(); ++i) {
        const float h = r[t][i] < 0 ? -1.0F : 1.0F;
        made.signs.back()[t][i] = h;
        r[t][i] = r[t][i] - beta * h;
      }
    }
  }
  return made;
}

// The betas of one image and group.
Floats image_betas(const Case &c, int64_t image, int64_t group) {
  const subbyte_conv_binary &l = c.shape;
  const subbyte_geometry &g = l.geometry;
  Floats betas;
  for (int k = 0; k < l.order; ++k) {
    double total = 0;
    for (int64_t pixel = 0; pixel < g.height * g.width; ++pixel) {
      const Floats values = pixel_of(c, image, group, pixel / g.width, pixel % g.width);
      Floats padded = betas;
      padded.resize(static_cast<size_t>(l.order));
      total += static_cast<double>(
          orders_of({values}, k + 1, sum_of({values}), padded).sums.back());
    }
    const auto size =
        static_cast<double>(g.height * g.width) * static_cast<double>(g.inputs / g.groups);
    betas.push_back(static_cast<float>(total / size));
  }
  return betas;
}

// The sum of |r_1| as the header says it for bytes.
float second_sum(const Pixels &column, float first) {
  const auto size = static_cast<float>(column.size() * column[0].size());
  const float beta = first / size;
  double upper = 0, count = 0;
  for (const Floats &pixel : column) {
    for (const float v : pixel) {
      if (std::fabs(v) <= beta) continue;
      upper += static_cast<double>(std::fabs(v));
      count += 1;
    }
  }
  const double sum = (2 * upper - static_cast<double>(first)) +
                     static_cast<double>(beta) * (static_cast<double>(size) - 2 * count);
  return static_cast<float>(std::max(0.0, sum));
}

// Signs and scales of one column.
Orders column_orders(const Case &c, const Pixels &column, const Floats &betas) {
  const subbyte_conv_binary &l = c.shape;
  const auto size = static_cast<float>(column.size() * column[0].size());
  Floats sums(static_cast<size_t>(l.order), 0.0F);
  std::vector<Orders> pixels;
  for (const Floats &pixel : column) {
    pixels.push_back(orders_of({pixel}, l.order, sum_of({pixel}), betas));
    for (size_t k = 0; k < sums.size(); ++k) sums[k] += pixels.back().sums[k];
  }
  Orders made;
  if (l.scales == SUBBYTE_PER_COLUMN) {
    made = orders_of(column, l.order, sums[0], {});
    if (l.input_type == SUBBYTE_UINT8 && l.order == 2) {
      made.sums[1] = second_sum(column, sums[0]);
    }
  } else {
    made.sums = sums;
    for (size_t k = 0; k < sums.size(); ++k) {
      made.signs.emplace_back();
      for (const Orders &pixel : pixels) made.signs.back().push_back(pixel.signs[k][0]);
    }
  }
  for (size_t k = 0; k < sums.size(); ++k) {
    made.sums[k] = betas.empty() ? made.sums[k] / size : betas[k];
    if (l.input_type == SUBBYTE_UINT8) made.sums[k] *= l.input_scale;
  }
  return made;
}

float one_sum(const Case &c, const Orders &orders, int64_t o) {
  float sum = 0;
  const int64_t channels = c.shape.geometry.inputs / c.shape.geometry.groups;
  for (size_t k = 0; k < orders.sums.size(); ++k) {
    int64_t dot = 0;
    for (int64_t t = 0; t < taps_of(c.shape); ++t) {
      for (int64_t i = 0; i < channels; ++i) {
        const int64_t at = (o * taps_of(c.shape) + t) * channels + i;
        const bool minus = (c.signs[static_cast<size_t>(at / 8)] >> (at % 8) & 1) != 0;
        const float h = orders.signs[k][static_cast<size_t>(t)][static_cast<size_t>(i)];
        dot += (h < 0) == minus ? 1 : -1;
      }
    }
    const float product = orders.sums[k] * static_cast<float>(dot);
    sum = sum + product;
  }
  return sum;
}

Pixels column_of(const Case &c, int64_t image, int64_t group, int64_t row, int64_t position) {
  const subbyte_conv_binary &l = c.shape;
  const subbyte_geometry &g = l.geometry;
  Pixels column;
  for (int64_t t = 0; t < taps_of(l); ++t) {
    const int64_t y = row * g.strides[0] - g.pads[0] + t / g.kernel[1] * g.dilations[0];
    const int64_t x = position * g.strides[1] - g.pads[1] + t % g.kernel[1] * g.dilations[1];
    column.push_back(pixel_of(c, image, group, y, x));
  }
  return column;
}

// The sums [image][row][column][output] by the header's formulas.
Floats expected(const Case &c) {
  const subbyte_conv_binary &l = c.shape;
  const subbyte_geometry &g = l.geometry;
  const int64_t outputs = g.outputs / g.groups;
  Floats sums(static_cast<size_t>(g.images * c.out_height * c.out_width * g.outputs));
  for (int64_t image = 0; image < g.images; ++image) {
    for (int64_t group = 0; group < g.groups; ++group) {
      const Floats betas = l.scales == SUBBYTE_PER_IMAGE ? image_betas(c, image, group) : Floats{};
      for (int64_t at = 0; at < c.out_height * c.out_width; ++at) {
        const Orders orders = column_orders(
            c, column_of(c, image, group, at / c.out_width, at % c.out_width), betas);
        for (int64_t o = group * outputs; o < (group + 1) * outputs; ++o) {
          const int64_t to = (image * c.out_height * c.out_width + at) * g.outputs + o;
          sums[static_cast<size_t>(to)] = one_sum(c, orders, o);
        }
      }
    }
  }
  return sums;
}

template <typename T>
std::vector<T> run(const Case &c, const conv_binary::Plan &plan, const void *x,
                   const subbyte_output &output, size_t misalign, int64_t split) {
  layers::Aligned packed(plan.packed_size), scratch(plan.scratch_size);
  conv_binary::pack(c.shape, plan, c.signs.data(), packed.data());
  std::memset(scratch.data(), 0xA5, plan.scratch_size);
  const int64_t rows = c.shape.geometry.images * c.out_height;
  const auto count = static_cast<size_t>(rows * c.out_width * c.shape.geometry.outputs);
  layers::Buffer<T> y(count, misalign * sizeof(T));
  for (const auto &part : {std::pair<int64_t, int64_t>{0, split}, {split, rows}}) {
    const int status = conv_binary::run(c.shape, plan, packed.data(), x, &output, y.data(),
                                        part.first, part.second, scratch.data());
    if (status != SUBBYTE_OK) throw std::runtime_error(subbyte::last_error());
  }
  return std::vector<T>(y.data(), y.data() + count);
}

// Pack and run on one level, in two calls if `split` is not 0.
template <typename T>
std::vector<T> compute(const Case &c, const conv_binary::Level &level, const subbyte_output &output,
                       size_t misalign = 0, int64_t split = 0) {
  conv_binary::Plan plan;
  CHECK_EQUAL(conv_binary::make_plan(&c.shape, &level, &plan), SUBBYTE_OK);
  if (c.shape.input_type == SUBBYTE_FLOAT) {
    layers::Buffer<float> x(c.x.size(), misalign * sizeof(float));
    std::copy(c.x.begin(), c.x.end(), x.data());
    return run<T>(c, plan, x.data(), output, misalign, split);
  }
  layers::Buffer<uint8_t> x(c.x.size(), misalign);
  std::transform(c.x.begin(), c.x.end(), x.data(),
                 [](float v) { return static_cast<uint8_t>(v); });
  return run<T>(c, plan, x.data(), output, misalign, split);
}

std::string describe(const subbyte_conv_binary &l) {
  const subbyte_geometry &g = l.geometry;
  std::ostringstream text;
  text << g.images << "x" << g.height << "x" << g.width << " " << g.inputs << "->" << g.outputs
       << " groups " << g.groups << " kernel " << g.kernel[0] << "x" << g.kernel[1] << " strides "
       << g.strides[0] << "," << g.strides[1] << " dilations " << g.dilations[0] << ","
       << g.dilations[1] << " pads " << g.pads[0] << "," << g.pads[1] << "," << g.pads[2] << ","
       << g.pads[3] << " order " << l.order << " scales " << l.scales << " type " << l.input_type;
  return text.str();
}

template <typename Visit>
void each_level(const Visit &visit) {
  for (const conv_binary::Level *level : conv_binary::kLevels) {
    if (conv_binary::kLevels.at(level->name) == level) visit(*level);
  }
}

struct Plain {
  Floats scale, bias;
  subbyte_output output;

  explicit Plain(const Case &c)
      : scale(static_cast<size_t>(c.shape.geometry.outputs), 1.0F),
        bias(static_cast<size_t>(c.shape.geometry.outputs), 0.0F),
        output{SUBBYTE_FLOAT, scale.data(), bias.data(), nullptr, 0, 0, 0, 0, 255, 0, 0, nullptr} {}
};

void check_case(const Case &c, size_t misalign = 0, int64_t split = 0) {
  const Plain plain_output(c);
  const Floats sums = expected(c);
  each_level([&](const conv_binary::Level &level) {
    const Floats got = compute<float>(c, level, plain_output.output, misalign, split);
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

subbyte_conv_binary random_shape(Random &random) {
  subbyte_conv_binary l = plain(pick(random, 1, 6), pick(random, 1, 9), 1, 1);
  l.geometry.images = pick(random, 1, 2);
  l.geometry.groups = pick(random, 0, 3) == 0 ? pick(random, 2, 4) : 1;
  l.geometry.inputs = l.geometry.groups * pick(random, 1, pick(random, 0, 1) == 0 ? 20 : 80);
  l.geometry.outputs = l.geometry.groups * pick(random, 1, pick(random, 0, 1) == 0 ? 12 : 70);
  layers::pick_window(random, 3, &l);
  l.order = pick(random, 1, pick(random, 0, 3) == 0 ? 8 : 3);
  l.scales = pick(random, SUBBYTE_PER_COLUMN, SUBBYTE_PER_IMAGE);
  if (pick(random, 0, 2) == 0) {
    l.input_type = SUBBYTE_UINT8;
    l.input_zero = pick(random, 0, 1) == 0 ? 0 : pick(random, 1, 255);
    l.input_scale = static_cast<float>(pick(random, 1, 1000)) * 1e-3F;
  }
  return l;
}

}  // namespace
