// Every level of the weightless kernels against the formulas of subbyte/elementwise.h.
#include "subbyte/elementwise.h"

#include <algorithm>
#include <cmath>

#include "check.h"
#include "error.h"
#include "layers.h"
#include "elementwise/run.h"

namespace {

using layers::pick;
using layers::Random;
namespace elementwise = subbyte::elementwise;

constexpr size_t kGuard = 64;  // bytes behind y that must stay as they are

std::vector<uint8_t> bytes(int64_t count, Random &random) {
  std::vector<uint8_t> made(static_cast<size_t>(count));
  for (auto &byte : made) byte = static_cast<uint8_t>(pick(random, 0, 255));
  return made;
}

subbyte_quantized quantized(Random &random) {
  return {static_cast<float>(pick(random, 1, 1000)) * 1e-3F, pick(random, 0, 255)};
}

uint8_t quantize(float value, int32_t zero) {
  const float rounded = std::nearbyint(value) + static_cast<float>(zero);
  return static_cast<uint8_t>(std::min(std::max(rounded, 0.0F), 255.0F));
}

template <typename Visit>
void each_level(const Visit &visit) {
  for (const elementwise::Level *level : elementwise::kLevels) {
    if (elementwise::kLevels.at(level->name) == level) visit(*level);
  }
}

void check_bytes(const elementwise::Level &level, const std::vector<uint8_t> &got,
                 const std::vector<uint8_t> &expected) {
  for (size_t i = 0; i < expected.size(); ++i) {
    if (got[i] != expected[i]) {
      check::failed(__FILE__, __LINE__,
                    std::string(level.name) + " at " + std::to_string(i) + ": " +
                        std::to_string(got[i]) + " is not " + std::to_string(expected[i]));
    }
  }
}

// One row on every level against the reference.
void check_pairs(const subbyte_pairwise &job, const std::vector<uint8_t> &x,
                 const std::vector<uint8_t> &r) {
  std::vector<uint8_t> expected(x.size() + kGuard, 99);
  CHECK_EQUAL(elementwise::run_pairwise(elementwise::kReference, job, x.data(), r.data(),
                                        expected.data(), 0, 1),
              SUBBYTE_OK);
  each_level([&](const elementwise::Level &level) {
    std::vector<uint8_t> y(expected.size(), 99);
    CHECK_EQUAL(elementwise::run_pairwise(level, job, x.data(), r.data(), y.data(), 0, 1),
                SUBBYTE_OK);
    check_bytes(level, y, expected);
  });
}

}  // namespace

TEST(pairs_with_every_kind_of_broadcasting) {
  Random random(1);
  for (int i = 0; i < 300; ++i) {
    subbyte_pairwise job = {};
    job.operation = pick(random, 0, 1);
    job.rank = pick(random, 1, 4);
    job.x = quantized(random);
    job.r = quantized(random);
    job.y = quantized(random);
    int64_t x_size = 1, r_size = 1, total = 1;
    for (int axis = job.rank; axis-- > 0;) {
      job.shape[axis] = pick(random, 1, axis == job.rank - 1 ? 150 : 5);
      const bool repeat_x = pick(random, 0, 3) == 0, repeat_r = pick(random, 0, 3) == 0;
      job.x_strides[axis] = repeat_x ? 0 : x_size;
      job.r_strides[axis] = repeat_r ? 0 : r_size;
      x_size *= repeat_x ? 1 : job.shape[axis];
      r_size *= repeat_r ? 1 : job.shape[axis];
      total *= job.shape[axis];
    }
    const auto x = bytes(x_size, random), r = bytes(r_size, random);
    std::vector<uint8_t> expected;
    for (int64_t index = 0; index < total; ++index) {
      int64_t rest = index, x_at = 0, r_at = 0;
      for (int axis = job.rank; axis-- > 0; rest /= job.shape[axis]) {
        x_at += rest % job.shape[axis] * job.x_strides[axis];
        r_at += rest % job.shape[axis] * job.r_strides[axis];
      }
      const auto a = static_cast<float>(x[static_cast<size_t>(x_at)] - job.x.zero);
      const auto b = static_cast<float>(r[static_cast<size_t>(r_at)] - job.r.zero);
      const float sum = a * (job.x.scale / job.y.scale) + b * (job.r.scale / job.y.scale);
      const float product = a * b * (job.x.scale * job.r.scale / job.y.scale);
      expected.push_back(quantize(job.operation == SUBBYTE_MUL ? product : sum, job.y.zero));
    }
    const int64_t rows = subbyte_pairwise_rows(&job);
    CHECK_EQUAL(rows, total / job.shape[job.rank - 1]);
    each_level([&](const elementwise::Level &level) {
      std::vector<uint8_t> y(static_cast<size_t>(total));
      const int64_t split = rows / 2;
      CHECK_EQUAL(elementwise::run_pairwise(level, job, x.data(), r.data(), y.data(), 0, split),
                  SUBBYTE_OK);
      CHECK_EQUAL(elementwise::run_pairwise(level, job, x.data(), r.data(), y.data(), split, rows),
                  SUBBYTE_OK);
      check_bytes(level, y, expected);
    });
  }
}

TEST(shuffles_of_every_number_of_groups) {
  Random random(11);
  for (const int64_t groups : {1, 2, 3, 4, 5, 58}) {
    for (const int64_t each : {1, 7, 16, 58}) {
      const subbyte_shuffle job = {groups * each, groups};
      const size_t pixel = static_cast<size_t>(job.channels), pixels = 5;
      const auto x = bytes(job.channels * 5, random);
      std::vector<uint8_t> expected(x.size() + kGuard, 99);
      for (size_t i = pixel; i < pixel * (pixels - 1); ++i) {
        const auto c = static_cast<int64_t>(i % pixel);
        const int64_t to = c % each * groups + c / each;
        expected[i / pixel * pixel + static_cast<size_t>(to)] = x[i];
      }
      each_level([&](const elementwise::Level &level) {
        std::vector<uint8_t> y(expected.size(), 99);
        CHECK_EQUAL(elementwise::run_shuffle(level, job, x.data(), y.data(), 1, pixels - 1),
                    SUBBYTE_OK);
        check_bytes(level, y, expected);
      });
    }
  }
  const subbyte_shuffle uneven = {7, 2};
  CHECK_EQUAL(elementwise::run_shuffle(elementwise::kReference, uneven, nullptr, nullptr, 0, 1),
              SUBBYTE_BAD_SHAPE);
}

TEST(maps_of_every_length) {
  Random random(7);
  for (int64_t length = 0; length < 200; ++length) {
    const auto table = bytes(256, random), x = bytes(length + 3, random);
    std::vector<uint8_t> expected(x.size() + kGuard, 99);
    for (size_t i = 2; i < x.size() - 1; ++i) expected[i] = table[x[i]];
    each_level([&](const elementwise::Level &level) {
      std::vector<uint8_t> y(expected.size(), 99);
      CHECK_EQUAL(elementwise::run_map(level, table.data(), x.data(), y.data(), 2, length + 2),
                  SUBBYTE_OK);
      check_bytes(level, y, expected);
    });
  }
  const auto every = bytes(256, random);
  CHECK_EQUAL(elementwise::run_map(elementwise::kReference, every.data(), every.data(), nullptr, 3,
                                   2),
              SUBBYTE_BAD_SHAPE);
}

TEST(maps_of_every_code) {
  Random random(8);
  const auto table = bytes(256, random);
  std::vector<uint8_t> x(256);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(i);
  each_level([&](const elementwise::Level &level) {
    std::vector<uint8_t> y(x.size());
    CHECK_EQUAL(elementwise::run_map(level, table.data(), x.data(), y.data(), 0, 256), SUBBYTE_OK);
    check_bytes(level, y, table);
  });
}

TEST(pools_of_every_shape) {
  Random random(2);
  for (int i = 0; i < 300; ++i) {
    subbyte_pool job = {};
    job.operation = pick(random, 0, 1);
    job.count_padding = pick(random, 0, 1);
    job.images = pick(random, 1, 2);
    job.channels = pick(random, 1, 140);
    job.x = quantized(random);
    job.y = quantized(random);
    int64_t size[2], out[2];
    for (int axis = 0; axis < 2; ++axis) {
      size[axis] = pick(random, 1, 9);
      job.kernel[axis] = pick(random, 1, 4);
      job.strides[axis] = pick(random, 1, 3);
      job.dilations[axis] = 1;
      job.pads[axis] = pick(random, 0, static_cast<int>(job.kernel[axis]) - 1);
      job.pads[axis + 2] = pick(random, 0, static_cast<int>(job.kernel[axis]) - 1);
      // Sometimes one window more than fits, as with ceil_mode, if it begins within x.
      out[axis] = std::max<int64_t>(
          1, (size[axis] + job.pads[axis] + job.pads[axis + 2] - job.kernel[axis]) /
                     job.strides[axis] + 1);
      const int64_t next = out[axis] * job.strides[axis] - job.pads[axis];
      if (pick(random, 0, 1) == 1 && next < size[axis]) ++out[axis];
      while ((out[axis] - 1) * job.strides[axis] - job.pads[axis] >= size[axis]) --out[axis];
    }
    job.height = size[0];
    job.width = size[1];
    job.out_height = out[0];
    job.out_width = out[1];
    const auto x = bytes(job.images * size[0] * size[1] * job.channels, random);
    std::vector<uint8_t> expected;
    for (int64_t row = 0; row < job.images * out[0]; ++row) {
      for (int64_t column = 0; column < out[1]; ++column) {
        for (int64_t c = 0; c < job.channels; ++c) {
          int64_t sum = 0, inside = 0, padded = 0;
          uint8_t most = 0;
          for (int64_t tap = 0; tap < job.kernel[0] * job.kernel[1]; ++tap) {
            const int64_t at = row % out[0] * job.strides[0] - job.pads[0] + tap / job.kernel[1];
            const int64_t to = column * job.strides[1] - job.pads[1] + tap % job.kernel[1];
            padded += at < size[0] + job.pads[2] && to < size[1] + job.pads[3];
            if (at < 0 || at >= size[0] || to < 0 || to >= size[1]) continue;
            const int64_t image = row / out[0];
            const uint8_t value = x[static_cast<size_t>(
                ((image * size[0] + at) * size[1] + to) * job.channels + c)];
            sum += value - job.x.zero;
            most = std::max(most, value);
            ++inside;
          }
          const auto count = static_cast<float>(job.count_padding ? padded : inside);
          const float factor = job.x.scale / job.y.scale / count;
          expected.push_back(job.operation == SUBBYTE_MAX_POOL
                                 ? most
                                 : quantize(static_cast<float>(sum) * factor, job.y.zero));
        }
      }
    }
    each_level([&](const elementwise::Level &level) {
      std::vector<uint8_t> y(expected.size());
      const int64_t rows = job.images * out[0], split = rows / 2;
      if (elementwise::run_pool(level, job, x.data(), y.data(), 0, split) != SUBBYTE_OK) {
        check::failed(__FILE__, __LINE__, subbyte::last_error());
      }
      CHECK_EQUAL(elementwise::run_pool(level, job, x.data(), y.data(), split, rows), SUBBYTE_OK);
      check_bytes(level, y, expected);
    });
  }
}

TEST(pairs_around_vector_edges) {
  Random random(4);
  for (int count = 1; count <= 70; ++count) {
    for (const int operation : {SUBBYTE_ADD, SUBBYTE_MUL}) {
      for (const int64_t step : {0, 1, 2}) {
        const subbyte_pairwise job = {operation, 1, {count}, {1}, {step},
                                      quantized(random), quantized(random), quantized(random)};
        check_pairs(job, bytes(count, random), bytes((count - 1) * step + 1, random));
      }
    }
  }
}

// Ratios that overflow: the sum of two infinities is no number, and becomes the least code.
TEST(pairs_beyond_all_codes) {
  Random random(5);
  for (const float ratio : {1e-30F, 1e5F, 3e38F}) {
    subbyte_pairwise job = {SUBBYTE_ADD, 1, {256}, {1}, {1}, {1, 128}, {1, 100}, {1 / ratio, 77}};
    std::vector<uint8_t> x = bytes(256, random), r = bytes(256, random);
    for (size_t i = 0; i < 40; ++i) {
      x[i] = i % 2 == 0 ? 0 : 255;
      r[i] = i % 4 < 2 ? 0 : 255;
    }
    check_pairs(job, x, r);
    job.operation = SUBBYTE_MUL;
    check_pairs(job, x, r);
  }
}

TEST(pools_of_every_number_of_channels) {
  Random random(6);
  for (int channels = 1; channels <= 140; ++channels) {
    for (const int operation : {SUBBYTE_MAX_POOL, SUBBYTE_AVERAGE_POOL}) {
      const subbyte_pool job = {operation, 1,      1,      5,      6,      channels,     2,
                                3,         {3, 3}, {2, 2}, {1, 1}, {1, 1, 0, 0}, quantized(random),
                                quantized(random)};
      const auto x = bytes(5 * 6 * channels, random);
      std::vector<uint8_t> expected(static_cast<size_t>(2 * 3 * channels) + kGuard, 99);
      CHECK_EQUAL(
          elementwise::run_pool(elementwise::kReference, job, x.data(), expected.data(), 0, 2),
          SUBBYTE_OK);
      each_level([&](const elementwise::Level &level) {
        std::vector<uint8_t> y(expected.size(), 99);
        CHECK_EQUAL(elementwise::run_pool(level, job, x.data(), y.data(), 0, 2), SUBBYTE_OK);
        check_bytes(level, y, expected);
      });
    }
  }
}

// Sums that 16 bits hold only up to 257 pixels of 255.
TEST(averages_of_large_windows) {
  Random random(7);
  for (const int pixels : {255, 256, 257, 258, 513, 514, 515, 70000}) {
    for (const int channels : {16, 37, 64, 112}) {
      subbyte_pool job = {SUBBYTE_AVERAGE_POOL, 0,      1,      1, pixels, channels, 1, 1,
                          {1, pixels},          {1, 1}, {1, 1}, {0, 0, 0, 0},
                          {1, pick(random, 0, 255)},    {1, 0}};
      job.y.zero = job.x.zero;
      // The mean is as near to 255 as codes come, or a random one.
      const bool extreme = channels != 64;
      std::vector<uint8_t> x(static_cast<size_t>(pixels * channels), 255);
      if (!extreme) x = bytes(pixels * channels, random);
      std::vector<uint8_t> expected;
      for (int c = 0; c < channels; ++c) {
        int64_t sum = 0;
        for (int p = 0; p < pixels; ++p) {
          sum += x[static_cast<size_t>(p * channels + c)] - job.x.zero;
        }
        expected.push_back(quantize(static_cast<float>(sum) * (1 / static_cast<float>(pixels)),
                                    job.y.zero));
        if (extreme) CHECK_EQUAL(int{expected.back()}, 255);
      }
      each_level([&](const elementwise::Level &level) {
        std::vector<uint8_t> y(expected.size());
        CHECK_EQUAL(elementwise::run_pool(level, job, x.data(), y.data(), 0, 1), SUBBYTE_OK);
        check_bytes(level, y, expected);
      });
    }
  }
}

TEST(requantized_runs) {
  Random random(3);
  for (int i = 0; i < 100; ++i) {
    subbyte_requantize job = {pick(random, 0, 5), pick(random, 0, 70), 0, 0, quantized(random),
                              quantized(random)};
    if (i % 4 == 0) job.y = job.x;
    job.x_stride = job.length + pick(random, 0, 3);
    job.y_stride = job.length + pick(random, 0, 3);
    const auto x = bytes(job.rows * job.x_stride + 1, random);
    std::vector<uint8_t> y(static_cast<size_t>(job.rows * job.y_stride + 1), 77);
    std::vector<uint8_t> expected = y;
    for (int64_t row = 0; row < job.rows; ++row) {
      for (int64_t at = 0; at < job.length; ++at) {
        const int code = x[static_cast<size_t>(row * job.x_stride + at)];
        const float value = static_cast<float>(code - job.x.zero) * (job.x.scale / job.y.scale);
        expected[static_cast<size_t>(row * job.y_stride + at)] =
            i % 4 == 0 ? static_cast<uint8_t>(code) : quantize(value, job.y.zero);
      }
    }
    CHECK_EQUAL(elementwise::run_requantize(job, x.data(), y.data()), SUBBYTE_OK);
    CHECK(y == expected);
  }
}

TEST(bad_jobs_are_refused) {
  uint8_t x[16] = {}, y[16] = {};
  subbyte_pool pool = {SUBBYTE_MAX_POOL, 0, 1, 2, 2, 4, 2, 2, {1, 1}, {1, 1}, {1, 1},
                       {0, 0, 0, 0}, {1, 0}, {1, 0}};
  CHECK_EQUAL(subbyte_pool_run(&pool, x, y, 0, 2), SUBBYTE_OK);
  CHECK_EQUAL(subbyte_pool_run(&pool, x, y, 0, 3), SUBBYTE_BAD_SHAPE);
  CHECK_EQUAL(subbyte_pool_run(&pool, x, nullptr, 0, 2), SUBBYTE_BAD_BUFFER);
  pool.out_height = 3;  // a window below x
  CHECK_EQUAL(subbyte_pool_run(&pool, x, y, 0, 1), SUBBYTE_BAD_SHAPE);
  pool.out_height = 2;
  pool.pads[0] = 1;  // a window above x
  CHECK_EQUAL(subbyte_pool_run(&pool, x, y, 0, 1), SUBBYTE_BAD_SHAPE);
  pool.pads[0] = 0;
  pool.operation = SUBBYTE_AVERAGE_POOL;
  pool.x.scale = std::nanf("");
  CHECK_EQUAL(subbyte_pool_run(&pool, x, y, 0, 1), SUBBYTE_BAD_DATA);

  subbyte_pairwise pair = {SUBBYTE_ADD, 1, {16}, {1}, {1}, {1, 0}, {1, 0}, {1, 0}};
  CHECK_EQUAL(subbyte_pairwise_run(&pair, x, x, y, 0, 1), SUBBYTE_OK);
  CHECK_EQUAL(subbyte_pairwise_run(&pair, x, x, y, 0, 2), SUBBYTE_BAD_SHAPE);
  pair.x.scale = 1e38F;
  pair.y.scale = 1e-38F;
  CHECK_EQUAL(subbyte_pairwise_run(&pair, x, x, y, 0, 1), SUBBYTE_BAD_DATA);
  pair.x.scale = pair.y.scale = 1;
  pair.x_strides[0] = int64_t{1} << 46;
  CHECK_EQUAL(subbyte_pairwise_rows(&pair), 0);
  pair.x_strides[0] = 1;
  pair.rank = SUBBYTE_MAX_RANK + 1;
  CHECK_EQUAL(subbyte_pairwise_rows(&pair), 0);
  pair.rank = 1;
  pair.x_strides[0] = -1;
  CHECK_EQUAL(subbyte_pairwise_rows(&pair), 0);

  subbyte_requantize move = {1, 16, 16, 16, {1, 0}, {1, 256}};
  CHECK_EQUAL(subbyte_requantize_run(&move, x, y), SUBBYTE_BAD_SHAPE);
  move.y.zero = 0;
  move.x.scale = 1e38F;
  move.y.scale = 1e-38F;
  CHECK_EQUAL(subbyte_requantize_run(&move, x, y), SUBBYTE_BAD_DATA);
  move.x.scale = move.y.scale = 1;
  move.rows = int64_t{1} << 46;
  CHECK_EQUAL(subbyte_requantize_run(&move, x, y), SUBBYTE_BAD_SHAPE);
  move.rows = -1;
  CHECK_EQUAL(subbyte_requantize_run(&move, x, y), SUBBYTE_BAD_SHAPE);
}

int main(int argc, char **argv) { return check::main(argc, argv); }
