// Every level of the GEMV kernels against the formulas of subbyte/gemv.h.
#include "check.h"
#include "gemv/plan.h"
#include "gemv_layers.h"

namespace {

using gemv_layers::kRaw;
using gemv_layers::weights;
using gemv_layers::Weights;
using gemv_layers::words;
using layers::pick;
using layers::Random;
using subbyte::last_error;
namespace gemv = subbyte::gemv;

template <typename Visit>
void each_level(const Visit &visit) {
  for (const gemv::Level *level : gemv::kLevels) {
    if (gemv::kLevels.at(level->name) == level) visit(*level);
  }
}

// Pack and run on one level, in two parts if there are two tiles of outputs or more.
template <typename T, typename Case>
std::vector<T> compute(const Case &c, const gemv::Level &level, const subbyte_output &output,
                       size_t misalign) {
  gemv::Plan plan;
  CHECK_EQUAL(gemv::make_plan(&c.shape, &level, &plan), SUBBYTE_OK);
  layers::Aligned packed(plan.packed_size), scratch(plan.scratch_size);
  const std::vector<uint8_t> values = c.x();
  layers::Buffer<uint8_t> x(values.size(), misalign);
  std::copy(values.begin(), values.end(), x.data());
  c.prepare(plan, packed.data(), x.data(), scratch.data());
  const auto count = static_cast<size_t>(c.shape.rows * c.shape.outputs);
  layers::Buffer<T> y(count, misalign * sizeof(T));
  const int64_t split = c.shape.outputs / 2 / gemv::kTile * gemv::kTile;
  for (const auto &part :
       {std::pair<int64_t, int64_t>{split, c.shape.outputs}, {0, split}}) {
    const int status = gemv::run(plan, packed.data(), scratch.data(), &output, y.data(),
                                 part.first, part.second);
    if (status != SUBBYTE_OK) throw std::runtime_error(last_error());
  }
  return std::vector<T>(y.data(), y.data() + count);
}

template <typename Case>
void check_case(const Case &c, size_t misalign) {
  const std::vector<int32_t> sums = c.sums();
  each_level([&](const gemv::Level &level) {
    const auto got = compute<int32_t>(c, level, kRaw, misalign);
    for (size_t i = 0; i < sums.size(); ++i) {
      if (got[i] != sums[i]) {
        check::failed(__FILE__, __LINE__,
                      std::string(level.name) + " " + std::to_string(c.shape.inputs) + "->" +
                          std::to_string(c.shape.outputs) + " " + c.describe() + " at " +
                          std::to_string(i) + ": " + std::to_string(got[i]) + " is not " +
                          std::to_string(sums[i]));
      }
    }
  });
}

// The uint8 and float32 outputs of every level equal the reference's.
template <typename Case>
void check_ends(const Case &c, Random &random) {
  const auto outputs = static_cast<size_t>(c.shape.outputs);
  std::vector<float> scale(outputs), bias(outputs);
  for (size_t o = 0; o < outputs; ++o) {
    scale[o] = static_cast<float>(pick(random, 1, 100)) * 1e-3F;
    bias[o] = static_cast<float>(pick(random, -100, 100));
  }
  std::vector<uint8_t> r(static_cast<size_t>(c.shape.rows) * outputs);
  for (auto &v : r) v = static_cast<uint8_t>(pick(random, 0, 255));
  const bool residual = pick(random, 0, 1) == 1;
  subbyte_output output = {SUBBYTE_UINT8, scale.data(), bias.data(),
                           residual ? r.data() : nullptr, 0.37F, 3, pick(random, 0, 255), 5, 250,
                           0, 0, nullptr};
  const auto bytes = compute<uint8_t>(c, gemv::kReference, output, 0);
  output.type = SUBBYTE_FLOAT;
  const auto floats = compute<float>(c, gemv::kReference, output, 0);
  each_level([&](const gemv::Level &level) {
    output.type = SUBBYTE_UINT8;
    CHECK(compute<uint8_t>(c, level, output, 1) == bytes);
    output.type = SUBBYTE_FLOAT;
    CHECK(compute<float>(c, level, output, 1) == floats);
  });
}

size_t any_misalign(Random &random) { return static_cast<size_t>(pick(random, 0, 3)); }

}  // namespace

TEST(look_ups_of_every_length_and_gain) {
  Random random(1);
  for (int d = 1; d <= 16; ++d) {
    for (const int gains : {0, 1, 2, 3, 4, 5, 8, 9, 16}) {
      check_case(words(pick(random, 1, 4), pick(random, 1, 200), pick(random, 1, 70), d, gains,
                       random),
                 any_misalign(random));
    }
  }
}

TEST(look_ups_around_the_edges_of_units_and_tiles) {
  Random random(2);
  for (const int groups : {1, 31, 32, 33, 255, 256, 257, 513}) {
    for (const int outputs : {1, 15, 17, 63, 64, 65, 255, 256, 257, 321, 512, 600}) {
      const int gains = pick(random, 0, 1) * pick(random, 1, 16);
      check_case(words(pick(random, 1, 2), groups * 2 - pick(random, 0, 1), outputs, 2, gains,
                       random),
                 any_misalign(random));
    }
  }
}

TEST(look_ups_of_every_number_of_rows) {
  Random random(3);
  for (int rows = 1; rows <= 18; ++rows) {
    for (const int gains : {0, 2, 4, 7, 16}) check_case(words(rows, 70, 90, 4, gains, random), 1);
  }
}

TEST(look_ups_of_the_most_words) {
  Random random(4);
  check_case(words(1, 65536, 17, 1, 0, random), 0);
  check_case(words(1, 65536, 17, 1, 16, random), 0);
}

TEST(weights_of_all_bits_around_the_edges_of_units_and_tiles) {
  Random random(5);
  for (const int bits : {2, 3, 4}) {
    for (const int inputs : {1, 3, 31, 32, 33, 64, 255, 256, 257, 600}) {
      for (const int outputs : {1, 15, 17, 63, 65, 256, 257, 321, 600}) {
        check_case(weights(pick(random, 1, 3), inputs, outputs, bits, random),
                   any_misalign(random));
      }
    }
  }
}

TEST(weights_of_every_number_of_rows) {
  Random random(6);
  for (int rows = 1; rows <= 18; ++rows) {
    for (const int bits : {2, 3, 4}) check_case(weights(rows, 130, 90, bits, random), 3);
  }
}

TEST(weights_of_the_most_inputs) {
  Random random(7);
  Weights c = weights(1, 65536, 17, 4, random);
  check_case(c, 0);
  std::fill(c.inputs.begin(), c.inputs.end(), uint8_t{255});
  std::fill(c.codes.begin(), c.codes.end(), uint8_t{0});
  c.levels[0] = -128;
  c.shape.input_zero = 0;
  check_case(c, 0);
}

TEST(every_level_ends_as_the_reference_does) {
  Random random(8);
  for (int i = 0; i < 20; ++i) {
    check_ends(words(pick(random, 1, 10), pick(random, 1, 90), pick(random, 1, 300), 3,
                     pick(random, 0, 16), random),
               random);
    check_ends(weights(pick(random, 1, 10), pick(random, 1, 90), pick(random, 1, 300),
                       pick(random, 2, 4), random),
               random);
  }
}

int main(int argc, char **argv) { return check::main(argc, argv); }
