// The C interface of look-ups: which layers and buffers it refuses.
#include <cstdlib>
#include <cstring>

#include "check.h"
#include "layers.h"

namespace {

using layers::Aligned;
using layers::Layer;
using layers::Random;

bool error_says(const char *text) { return std::strstr(subbyte_error(), text) != nullptr; }

TEST(layers_it_refuses) {
  const subbyte_conv_lut16 good = layers::shape(4, 4, 8, 8, 4);
  CHECK(subbyte_conv_lut16_packed_size(&good) > 0);
  const struct {
    const char *says;
    void (*spoil)(subbyte_conv_lut16 &);
  } cases[] = {
      {"images", [](subbyte_conv_lut16 &l) { l.geometry.images = 0; }},
      {"height", [](subbyte_conv_lut16 &l) { l.geometry.height = -1; }},
      {"outputs", [](subbyte_conv_lut16 &l) { l.geometry.outputs = int64_t{1} << 40; }},
      {"groups", [](subbyte_conv_lut16 &l) { l.geometry.groups = 3; }},
      {"kernel: expected a span", [](subbyte_conv_lut16 &l) { l.geometry.kernel[0] = 5; }},
      {"stride", [](subbyte_conv_lut16 &l) { l.geometry.strides[1] = 0; }},
      {"padding", [](subbyte_conv_lut16 &l) { l.geometry.pads[3] = -1; }},
      {"word_length", [](subbyte_conv_lut16 &l) { l.word_length = 17; }},
      {"gain_levels", [](subbyte_conv_lut16 &l) { l.gain_levels = 257; }},
      {"input_zero", [](subbyte_conv_lut16 &l) { l.input_zero = 256; }},
      {"shift", [](subbyte_conv_lut16 &l) { l.shift = 9; }},
      {"too large",
       [](subbyte_conv_lut16 &l) {
         l.geometry.images = l.geometry.height = l.geometry.width = 1 << 30;
       }},
      {"taps", [](subbyte_conv_lut16 &l) { l.geometry.inputs = 1 << 30; }},
      {"too large",
       [](subbyte_conv_lut16 &l) {
         l.geometry.outputs = l.geometry.groups = l.geometry.inputs = 1 << 30;
         l.geometry.kernel[0] = 1 << 14;
         l.geometry.pads[0] = 1 << 20;
       }},
  };
  for (const auto &item : cases) {
    subbyte_conv_lut16 bad = good;
    item.spoil(bad);
    CHECK_EQUAL(subbyte_conv_lut16_packed_size(&bad), size_t{0});
    CHECK_EQUAL(subbyte_conv_lut16_scratch_size(&bad), size_t{0});
    if (!error_says(item.says)) check::failed(__FILE__, __LINE__, subbyte_error());
  }
  CHECK_EQUAL(subbyte_conv_lut16_packed_size(nullptr), size_t{0});
}

TEST(sizes_of_y) {
  subbyte_geometry geometry = {1, 7, 6, 4, 4, 1, {3, 2}, {2, 1}, {1, 2}, {1, 0, 2, 1}};
  int64_t height = -1, width = -1;
  CHECK_EQUAL(subbyte_out_size(&geometry, &height, &width), SUBBYTE_OK);
  CHECK(height == 4 && width == 5);
  CHECK_EQUAL(subbyte_out_size(nullptr, &height, &width), SUBBYTE_BAD_BUFFER);
  CHECK_EQUAL(subbyte_out_size(&geometry, nullptr, &width), SUBBYTE_BAD_BUFFER);
  CHECK_EQUAL(subbyte_out_size(&geometry, &height, nullptr), SUBBYTE_BAD_BUFFER);
  geometry.kernel[0] = 11;
  CHECK_EQUAL(subbyte_out_size(&geometry, &height, &width), SUBBYTE_BAD_SHAPE);
  CHECK(error_says("kernel: expected a span") && height == 4 && width == 5);
}

TEST(weights_it_refuses) {
  Random random(1);
  subbyte_conv_lut16 shape = layers::shape(2, 2, 6, 5, 3);
  shape.gain_levels = 4;
  const Layer good = layers::fill(shape, random);
  Aligned packed(subbyte_conv_lut16_packed_size(&shape));
  const auto pack = [&](const Layer &l) {
    return subbyte_conv_lut16_pack(&shape, l.codes.data(), l.gain_codes.data(), l.gains.data(),
                                   l.codebook.data(), packed.data());
  };
  CHECK_EQUAL(pack(good), SUBBYTE_OK);
  Layer bad = good;
  bad.codes.back() = 16;
  CHECK(pack(bad) == SUBBYTE_BAD_DATA && error_says("codes"));
  bad = good;
  bad.gain_codes.back() = 4;
  CHECK(pack(bad) == SUBBYTE_BAD_DATA && error_says("gain_codes"));
  bad = good;
  bad.gains[1] = -65;
  CHECK(pack(bad) == SUBBYTE_BAD_DATA && error_says("gains"));
  bad = good;
  bad.codebook[0] = bad.codebook[1] = -64;
  CHECK(pack(bad) == SUBBYTE_BAD_DATA && error_says("codebook"));
  bad.codebook[0] = -128;
  CHECK_EQUAL(pack(bad), SUBBYTE_BAD_DATA);
  CHECK_EQUAL(subbyte_conv_lut16_pack(&shape, good.codes.data(), nullptr, good.gains.data(),
                                      good.codebook.data(), packed.data()),
              SUBBYTE_BAD_BUFFER);
  CHECK_EQUAL(
      subbyte_conv_lut16_pack(&shape, good.codes.data(), good.gain_codes.data(), good.gains.data(),
                              good.codebook.data(), static_cast<char *>(packed.data()) + 1),
      SUBBYTE_BAD_BUFFER);
}

TEST(runs_it_refuses) {
  Random random(2);
  subbyte_conv_lut16 shape = layers::shape(3, 2, 8, 4, 4);
  const Layer layer = layers::fill(shape, random);
  Aligned packed(subbyte_conv_lut16_packed_size(&shape)),
      scratch(subbyte_conv_lut16_scratch_size(&shape));
  CHECK_EQUAL(subbyte_conv_lut16_pack(&shape, layer.codes.data(), nullptr, nullptr,
                                      layer.codebook.data(), packed.data()),
              SUBBYTE_OK);
  std::vector<int32_t> y(24);
  subbyte_output output = {};
  output.type = SUBBYTE_INT32;
  const auto run = [&](int64_t begin, int64_t end) {
    return subbyte_conv_lut16_run(&shape, packed.data(), layer.x.data(), &output, y.data(), begin,
                                  end, scratch.data());
  };
  CHECK_EQUAL(run(0, 3), SUBBYTE_OK);
  CHECK_EQUAL(run(3, 3), SUBBYTE_OK);
  CHECK_EQUAL(run(0, 4), SUBBYTE_BAD_SHAPE);
  CHECK_EQUAL(run(-1, 3), SUBBYTE_BAD_SHAPE);
  CHECK_EQUAL(run(2, 1), SUBBYTE_BAD_SHAPE);
  output.type = SUBBYTE_FLOAT;
  CHECK_EQUAL(run(0, 3), SUBBYTE_BAD_BUFFER);
  output.type = 3;
  CHECK_EQUAL(run(0, 3), SUBBYTE_BAD_SHAPE);
  const float ones[4] = {1, 1, 1, 1};
  output.type = SUBBYTE_UINT8;
  output.scale = output.bias = ones;
  output.low = 5;
  CHECK(run(0, 3) == SUBBYTE_BAD_SHAPE && error_says("low"));
  const std::vector<uint8_t> table(256);
  output.low = 0;
  output.table = table.data();
  CHECK_EQUAL(run(0, 3), SUBBYTE_OK);
  output.type = SUBBYTE_FLOAT;
  CHECK(run(0, 3) == SUBBYTE_BAD_SHAPE && error_says("table"));
  output.table = nullptr;
  output.type = SUBBYTE_INT32;
  shape.shift = 6;
  CHECK(run(0, 3) == SUBBYTE_BAD_BUFFER && error_says("packed"));
}

}  // namespace

int main(int argc, char **argv) { return check::main(argc, argv); }
