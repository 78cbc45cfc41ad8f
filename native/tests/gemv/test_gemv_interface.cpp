// The C interface of the GEMV kernels, on this process's level: what it refuses.
#include "check.h"
#include "gemv_layers.h"
#include "subbyte/gemv.h"

namespace {

using gemv_layers::kRaw;
using gemv_layers::weights;
using gemv_layers::Weights;
using gemv_layers::words;
using gemv_layers::Words;
using layers::Random;

bool error_says(const char *text) { return std::strstr(subbyte_error(), text) != nullptr; }

template <typename Layer, typename Size>
void refused(const Layer &good, Size size, const char *says, void (*spoil)(Layer &)) {
  CHECK(size(&good) > 0);
  Layer bad = good;
  spoil(bad);
  CHECK_EQUAL(size(&bad), size_t{0});
  if (!error_says(says)) check::failed(__FILE__, __LINE__, subbyte_error());
}

}  // namespace

TEST(layers_it_refuses) {
  using L = subbyte_gemv_lut16;
  const L lookup = {2, 64, 32, 4, 0, 4, 7, 5};
  for (const auto size : {subbyte_gemv_lut16_packed_size, subbyte_gemv_lut16_scratch_size}) {
    refused<L>(lookup, size, "rows", [](L &l) { l.rows = 0; });
    refused<L>(lookup, size, "inputs", [](L &l) { l.inputs = -5; });
    refused<L>(lookup, size, "outputs", [](L &l) { l.outputs = int64_t{1} << 62; });
    refused<L>(lookup, size, "word_length", [](L &l) { l.word_length = 17; });
    refused<L>(lookup, size, "word_length", [](L &l) { l.word_length = 0; });
    refused<L>(lookup, size, "shared", [](L &l) { l.shared = 2; });
    refused<L>(lookup, size, "gain_levels", [](L &l) { l.gain_levels = 17; });
    refused<L>(lookup, size, "gain_levels", [](L &l) { l.gain_levels = -1; });
    refused<L>(lookup, size, "input_zero", [](L &l) { l.input_zero = 256; });
    refused<L>(lookup, size, "shift", [](L &l) { l.shift = 9; });
    refused<L>(lookup, size, "codes of an output", [](L &l) { l.inputs = 1 << 30; });
    refused<L>(lookup, size, "too large", [](L &l) { l.rows = l.inputs = 1 << 30; });
    refused<L>(lookup, size, "too large", [](L &l) {
      l.inputs = 1 << 14;
      l.rows = 1 << 30;
    });
  }
  using U = subbyte_gemv_int4;
  const U unpack = {2, 64, 32, 4, 7};
  for (const auto size : {subbyte_gemv_int4_packed_size, subbyte_gemv_int4_scratch_size}) {
    refused<U>(unpack, size, "rows", [](U &l) { l.rows = -1; });
    refused<U>(unpack, size, "bits", [](U &l) { l.bits = 1; });
    refused<U>(unpack, size, "bits", [](U &l) { l.bits = 5; });
    refused<U>(unpack, size, "inputs", [](U &l) { l.inputs = 65537; });
    refused<U>(unpack, size, "input_zero", [](U &l) { l.input_zero = -1; });
    refused<U>(unpack, size, "too large", [](U &l) { l.rows = l.outputs = 1 << 30; });
  }
  CHECK_EQUAL(subbyte_gemv_lut16_packed_size(nullptr), size_t{0});
  CHECK_EQUAL(subbyte_gemv_int4_packed_size(nullptr), size_t{0});
}

TEST(weights_it_refuses) {
  Random random(9);
  const Words good = words(1, 30, 5, 3, 4, random);
  layers::Aligned packed(subbyte_gemv_lut16_packed_size(&good.shape));
  const auto pack = [&](const layers::Layer &l) {
    return subbyte_gemv_lut16_pack(&good.shape, l.codes.data(), l.gain_codes.data(), l.gains.data(),
                                   l.codebook.data(), packed.data());
  };
  CHECK_EQUAL(pack(good.layer), SUBBYTE_OK);
  layers::Layer bad = good.layer;
  bad.codes.back() = 16;
  CHECK(pack(bad) == SUBBYTE_BAD_DATA && error_says("codes: expected less than 16, got 16"));
  bad = good.layer;
  bad.gain_codes.back() = 4;
  CHECK(pack(bad) == SUBBYTE_BAD_DATA && error_says("gain_codes"));
  bad = good.layer;
  bad.gains[1] = 65;
  CHECK(pack(bad) == SUBBYTE_BAD_DATA && error_says("gains"));
  bad = good.layer;
  bad.codebook[0] = bad.codebook[1] = 64;
  CHECK(pack(bad) == SUBBYTE_BAD_DATA && error_says("codebook"));
  const auto with = [&](const uint8_t *codes, const uint8_t *gain_codes, const int8_t *gains,
                        const int8_t *codebook, void *to) {
    return subbyte_gemv_lut16_pack(&good.shape, codes, gain_codes, gains, codebook, to);
  };
  const layers::Layer &l = good.layer;
  CHECK_EQUAL(with(nullptr, l.gain_codes.data(), l.gains.data(), l.codebook.data(), packed.data()),
              SUBBYTE_BAD_BUFFER);
  CHECK_EQUAL(with(l.codes.data(), nullptr, l.gains.data(), l.codebook.data(), packed.data()),
              SUBBYTE_BAD_BUFFER);
  CHECK_EQUAL(with(l.codes.data(), l.gain_codes.data(), nullptr, l.codebook.data(),
                   packed.data()),
              SUBBYTE_BAD_BUFFER);
  CHECK_EQUAL(with(l.codes.data(), l.gain_codes.data(), l.gains.data(), l.codebook.data(),
                   static_cast<char *>(packed.data()) + 1),
              SUBBYTE_BAD_BUFFER);

  Weights scalar = weights(1, 30, 5, 3, random);
  layers::Aligned room(subbyte_gemv_int4_packed_size(&scalar.shape));
  scalar.codes.back() = 8;
  CHECK(subbyte_gemv_int4_pack(&scalar.shape, scalar.codes.data(), scalar.levels.data(),
                               room.data()) == SUBBYTE_BAD_DATA &&
        error_says("codes: expected less than 8, got 8"));
  CHECK_EQUAL(subbyte_gemv_int4_pack(&scalar.shape, scalar.codes.data(), nullptr, room.data()),
              SUBBYTE_BAD_BUFFER);
}

TEST(runs_it_refuses) {
  Random random(10);
  Weights c = weights(2, 40, 600, 2, random);
  layers::Aligned packed(subbyte_gemv_int4_packed_size(&c.shape));
  layers::Aligned scratch(subbyte_gemv_int4_scratch_size(&c.shape));
  CHECK_EQUAL(subbyte_gemv_int4_pack(&c.shape, c.codes.data(), c.levels.data(), packed.data()),
              SUBBYTE_OK);
  CHECK_EQUAL(subbyte_gemv_int4_prepare(&c.shape, packed.data(), c.inputs.data(), scratch.data()),
              SUBBYTE_OK);
  CHECK_EQUAL(subbyte_gemv_int4_prepare(&c.shape, packed.data(), nullptr, scratch.data()),
              SUBBYTE_BAD_BUFFER);
  std::vector<int32_t> y(1200);
  subbyte_output output = kRaw;
  const auto run = [&](int64_t begin, int64_t end) {
    return subbyte_gemv_int4_run(&c.shape, packed.data(), scratch.data(), &output, y.data(), begin,
                                 end);
  };
  const int64_t block = subbyte_gemv_block();
  CHECK_EQUAL(run(0, 600), SUBBYTE_OK);
  CHECK(y == c.sums());
  CHECK_EQUAL(run(block, 2 * block), SUBBYTE_OK);
  CHECK_EQUAL(run(0, 0), SUBBYTE_OK);
  CHECK(run(1, 600) == SUBBYTE_BAD_SHAPE && error_says("outputs: expected blocks of 64"));
  CHECK_EQUAL(run(0, 599), SUBBYTE_BAD_SHAPE);
  CHECK_EQUAL(run(0, 10 * block), SUBBYTE_BAD_SHAPE);
  CHECK_EQUAL(run(-block, 0), SUBBYTE_BAD_SHAPE);
  CHECK_EQUAL(run(block, 0), SUBBYTE_BAD_SHAPE);
  output.type = SUBBYTE_FLOAT;
  CHECK_EQUAL(run(0, 600), SUBBYTE_BAD_BUFFER);
  output.type = SUBBYTE_INT32;
  c.shape.input_zero ^= 1;
  CHECK(run(0, 600) == SUBBYTE_BAD_BUFFER && error_says("packed"));
}

int main(int argc, char **argv) { return check::main(argc, argv); }
