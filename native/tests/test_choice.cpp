// Which kernel runs a layer. tests/runtime/native/test_choice.py holds Python's rule to this one.
#include "subbyte/choice.h"

#include <cstring>

#include "check.h"

namespace {

subbyte_geometry linear(int64_t rows, int64_t inputs, int64_t outputs) {
  return {1, rows, 1, inputs, outputs, 1, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}};
}

subbyte_geometry conv(int64_t size, int64_t channels, int64_t groups = 1) {
  return {1, size, size, channels, channels, groups, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}};
}

subbyte_weights words(int64_t count, int64_t length, int64_t gains = 0) {
  return {SUBBYTE_WEIGHTS_WORDS, 0, 1, 0, count, length, gains};
}

subbyte_weights levels(int32_t bits, int32_t table_shift = 0) {
  return {SUBBYTE_WEIGHTS_LEVELS, 0, table_shift, bits, 0, 0, 0};
}

subbyte_weights in_linear(subbyte_weights weights) {
  weights.linear = 1;
  return weights;
}

TEST(every_kernel_has_its_layers) {
  const subbyte_geometry large = linear(1, 1024, 1024), wide = linear(1, 1 << 17, 16);
  const subbyte_weights int8 = {SUBBYTE_WEIGHTS_INT8, 0, 1, 0, 0, 0, 0};
  const subbyte_weights signs = {SUBBYTE_WEIGHTS_SIGNS, 0, 0, 0, 0, 0, 0};
  subbyte_weights no_shift = words(16, 4);
  no_shift.table_shift = 0;
  const struct {
    subbyte_geometry geometry;
    subbyte_weights weights;
    const char *kernel;
  } cases[] = {
      {conv(8, 16), int8, "conv_int8"},
      {conv(8, 16), signs, "conv_binary"},
      {conv(8, 16), words(16, 4), "conv_lut16"},
      {conv(8, 16), no_shift, "conv_int8"},
      {conv(8, 16), words(8, 4), "conv_int8"},
      {conv(8, 16), words(16, 17), "conv_int8"},
      {conv(8, 1 << 15), words(16, 1), "conv_int8"},
      {conv(8, 16), words(32, 4), "conv_lut256"},
      {large, in_linear(words(256, 4)), "conv_lut256"},
      {large, words(16, 4), "conv_lut16"},
      {large, in_linear(words(16, 4, 16)), "gemv_lut16"},
      {large, in_linear(words(16, 4, 32)), "conv_lut16"},
      {linear(5, 1024, 1024), in_linear(words(16, 4)), "conv_lut16"},
      {linear(1, 1024, 1023), in_linear(words(16, 4)), "conv_lut16"},
      {large, in_linear(levels(4)), "gemv_int4"},
      {large, in_linear(levels(1)), "gemv_int4"},
      {large, in_linear(levels(5)), "conv_int8"},
      {wide, in_linear(levels(2, 1)), "gemv_lut16"},
      {wide, in_linear(levels(3)), "conv_int8"},
      {conv(7, 16), levels(3), "conv_int4"},
      {conv(6, 16), levels(3), "conv_int8"},
      {linear(48, 16, 16), in_linear(levels(4)), "conv_int4"},
      {linear(47, 16, 16), in_linear(levels(4)), "conv_int8"},
      {conv(7, 16, 16), levels(4), "conv_int8"},
      {conv(7, 16), levels(2), "conv_int8"},
      {conv(7, 16), levels(2, 1), "conv_lut16"},
  };
  for (const auto &item : cases) {
    const char *kernel = subbyte_kernel_of(&item.geometry, &item.weights);
    CHECK(kernel != nullptr);
    CHECK_EQUAL(std::string(kernel), std::string(item.kernel));
  }
}

TEST(it_refuses_what_is_no_layer) {
  const subbyte_geometry good = conv(8, 16), bad = conv(0, 16);
  const subbyte_weights weights = words(16, 4);
  subbyte_weights unknown = weights;
  unknown.format = 4;
  CHECK(subbyte_kernel_of(nullptr, &weights) == nullptr);
  CHECK(subbyte_kernel_of(&good, nullptr) == nullptr);
  CHECK(subbyte_kernel_of(&bad, &weights) == nullptr);
  CHECK(std::strstr(subbyte_error(), "height") != nullptr);
  CHECK(subbyte_kernel_of(&good, &unknown) == nullptr);
  const subbyte_weights empty = words(16, 0);
  CHECK(subbyte_kernel_of(&good, &empty) == nullptr);
}

}  // namespace

int main(int argc, char **argv) { return check::main(argc, argv); }
