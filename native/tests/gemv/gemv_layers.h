// Random layers of the GEMV kernels, and what they compute by the formulas of subbyte/gemv.h.
#pragma once

#include <sstream>
#include <stdexcept>

#include "error.h"
#include "gemv/plan.h"
#include "layers.h"

namespace gemv_layers {

using layers::pick;
using layers::Random;
using subbyte::gemv::Plan;

constexpr subbyte_output kRaw = {SUBBYTE_INT32, nullptr, nullptr, nullptr, 0, 0,
                                 0, 0, 0, 0, 0, nullptr};

// Look-ups, with the codes of a layer of the look-up kernels, which have the same formula.
struct Words {
  subbyte_gemv_lut16 shape;
  layers::Layer layer;
  std::vector<uint8_t> x() const { return layer.x; }
  std::vector<int32_t> sums() const { return layers::sums(layer); }

  void prepare(const Plan &plan, void *packed, const uint8_t *x, void *scratch) const {
    const int status =
        subbyte::gemv::pack(shape, plan, layer.codes.data(), layer.gain_codes.data(),
                            layer.gains.data(), layer.codebook.data(), packed);
    if (status != SUBBYTE_OK) throw std::runtime_error(subbyte::last_error());
    subbyte::gemv::build_tables(shape, plan, packed, x, scratch);
  }

  std::string describe() const {
    std::ostringstream text;
    text << "rows " << shape.rows << " d " << shape.word_length << " shared " << shape.shared
         << " gains " << shape.gain_levels << " zero " << shape.input_zero << " shift "
         << shape.shift;
    return text.str();
  }
};

struct Weights {
  subbyte_gemv_int4 shape;
  std::vector<uint8_t> codes, inputs;
  std::vector<int8_t> levels;
  std::vector<uint8_t> x() const { return inputs; }

  std::vector<int32_t> sums() const {
    std::vector<int32_t> all;
    for (int64_t row = 0; row < shape.rows; ++row) {
      for (int64_t o = 0; o < shape.outputs; ++o) {
        int64_t sum = 0;
        for (int64_t i = 0; i < shape.inputs; ++i) {
          const int weight = levels[codes[static_cast<size_t>(o * shape.inputs + i)]];
          sum += weight * (inputs[static_cast<size_t>(row * shape.inputs + i)] - shape.input_zero);
        }
        all.push_back(static_cast<int32_t>(sum));
      }
    }
    return all;
  }

  void prepare(const Plan &plan, void *packed, const uint8_t *x, void *scratch) const {
    const int status =
        subbyte::gemv::pack(shape, plan, codes.data(), levels.data(), packed);
    if (status != SUBBYTE_OK) throw std::runtime_error(subbyte::last_error());
    subbyte::gemv::stage_inputs(plan, x, scratch);
  }

  std::string describe() const {
    std::ostringstream text;
    text << "rows " << shape.rows << " bits " << shape.bits << " zero " << shape.input_zero;
    return text.str();
  }
};

inline Words words(int64_t rows, int64_t inputs, int64_t outputs, int d, int gain_levels,
                   Random &random) {
  subbyte_conv_lut16 shape = layers::shape(rows, 1, inputs, outputs, d);
  shape.gain_levels = gain_levels;
  shape.shared = pick(random, 0, 1);
  shape.shift = pick(random, 0, 8);
  shape.input_zero = pick(random, 0, 1) == 0 ? 0 : pick(random, 1, 255);
  return {{rows, inputs, outputs, d, shape.shared, gain_levels, shape.input_zero, shape.shift},
          layers::fill(shape, random)};
}

inline Weights weights(int64_t rows, int64_t inputs, int64_t outputs, int bits, Random &random) {
  Weights made = {{rows, inputs, outputs, bits, 0}, {}, {}, {}};
  made.shape.input_zero = pick(random, 0, 1) == 0 ? 0 : pick(random, 1, 255);
  made.codes.resize(static_cast<size_t>(inputs * outputs));
  made.inputs.resize(static_cast<size_t>(rows * inputs));
  made.levels.resize(size_t{1} << bits);
  // Extremes in every second case: the largest sums, and what 16-bit sums would saturate at.
  const bool extreme = pick(random, 0, 1) == 1;
  for (auto &level : made.levels) level = static_cast<int8_t>(pick(random, -128, 127));
  if (extreme) made.levels.front() = -128;
  if (extreme) made.levels.back() = 127;
  const int last = (1 << bits) - 1;
  for (auto &code : made.codes) {
    code = static_cast<uint8_t>(extreme ? pick(random, 0, 1) * last : pick(random, 0, last));
  }
  for (auto &v : made.inputs) {
    v = static_cast<uint8_t>(extreme ? pick(random, 0, 1) * 255 : pick(random, 0, 255));
  }
  return made;
}

}  // namespace gemv_layers
