// Every level of the kernels for 32 to 256 words against the formula of subbyte/conv_lut256.h.
#include "conv_lut256_cases.h"

namespace {

TEST(random_layers) {
  Random random(1);
  for (int i = 0; i < 200; ++i) {
    const Case c = fill(random_shape(random), random);
    same_sums(c, static_cast<size_t>(pick(random, 0, 5)), pick(random, 0, 4));
  }
}

// Every number of pixels and of outputs around the tiles' edges.
TEST(tile_edges) {
  Random random(2);
  for (const int words : kSizes) {
    for (const int gains : {0, 4}) {
      for (const int outputs : {1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200}) {
        for (const int pixels : {1, 2, 3, 4, 5, 6, 9, 11}) {
          subbyte_conv_lut256 shape = plain(1, pixels, 10, outputs, 2, words);
          shape.gain_levels = gains;
          same_sums(fill(shape, random));
        }
      }
    }
  }
}

// Every number of channels around words and vectors of words, at the tensor's very end.
TEST(channel_edges) {
  Random random(3);
  for (const int d : {1, 2, 3, 4, 6, 8, 16}) {
    for (int channels = 1; channels <= 4 * d + 2; ++channels) {
      subbyte_conv_lut256 shape = plain(2, 3, channels, 18, d, kSizes[channels % 4]);
      shape.geometry.kernel[1] = 2;
      shape.geometry.pads[3] = 1;
      shape.input_zero = 128;
      shape.gain_levels = pick(random, 0, 1) * 4;
      same_sums(fill(shape, random));
    }
  }
}

// Tables of all rows exceed the band: rows move from band to band.
TEST(bands) {
  Random random(4);
  for (const int words : kSizes) {
    for (const int stride : {1, 2, 4}) {
      subbyte_conv_lut256 shape = plain(41, 30, 64, 17, 8, words);
      shape.geometry.kernel[0] = shape.geometry.kernel[1] = 3;
      std::fill(shape.geometry.pads, shape.geometry.pads + 4, 1);
      shape.geometry.strides[0] = stride;
      conv_lut256::Plan plan;
      CHECK_EQUAL(conv_lut256::make_plan(&shape, &conv_lut256::kPortable, &plan), SUBBYTE_OK);
      CHECK(plan.band < plan.out_height);
      same_sums(fill(shape, random), 3, 13);
    }
  }
}

// Every entry the largest or the least one, in more look-ups than 16-bit sums can hold, with
// the largest gains: nothing saturates or wraps but the entries.
TEST(largest_sums) {
  Random random(5);
  for (const int words : kSizes) {
    for (const int sign : {1, -1}) {
      for (const int gain : {0, 64, -64}) {
        subbyte_conv_lut256 shape = plain(3, 1, 2200, 20, 2, words);
        shape.geometry.kernel[0] = 2;
        shape.shift = 0;
        shape.gain_levels = gain != 0 ? 1 : 0;
        Case c = fill(shape, random);
        if (gain != 0) c.gains[0] = static_cast<int8_t>(gain);
        std::fill(c.x.begin(), c.x.end(), uint8_t{255});
        std::fill(c.codebook.begin(), c.codebook.end(), static_cast<int8_t>(63 * sign));
        same_sums(c);
      }
    }
  }
}

TEST(every_word_is_found) {
  Random random(6);
  for (const int words : kSizes) {
    for (const int gains : {0, 2}) {
      subbyte_conv_lut256 shape = plain(1, 1, 9, words, 2, words);
      shape.gain_levels = gains;
      Case c = fill(shape, random);
      for (size_t i = 0; i < c.codes.size(); ++i) {
        c.codes[i] = static_cast<uint8_t>((i + i / static_cast<size_t>(words)) %
                                          static_cast<size_t>(words));
      }
      same_sums(c);
    }
  }
}

TEST(outputs_follow_the_last_stage) {
  Random random(7);
  for (int i = 0; i < 40; ++i) {
    const Case c = fill(random_shape(random), random);
    same_outputs(c, random);
  }
}

TEST(layouts_are_permutations) {
  for (const auto *level : here()) {
    const auto cell = static_cast<size_t>(conv_lut256::kVectorGroups * level->lanes);
    for (const int words : kSizes) {
      for (const bool gain : {false, true}) {
        std::vector<int> codes(cell), gains(cell);
        for (int j = 0; j < conv_lut256::kVectorGroups; ++j) {
          for (int o = 0; o < level->lanes; ++o) {
            ++codes.at(static_cast<size_t>(level->code_lane(words, gain, o, j)));
            ++gains.at(static_cast<size_t>(level->gain_lane(o, j)));
          }
        }
        CHECK(codes == std::vector<int>(cell, 1) && gains == std::vector<int>(cell, 1));
      }
    }
  }
}

bool error_says(const char *text) { return std::strstr(subbyte_error(), text) != nullptr; }

TEST(layers_it_refuses) {
  const subbyte_conv_lut256 good = plain(4, 4, 8, 8, 4, 64);
  CHECK(subbyte_conv_lut256_packed_size(&good) > 0);
  const struct {
    const char *says;
    void (*spoil)(subbyte_conv_lut256 &);
  } cases[] = {
      {"words: expected 32, 64, 128 or 256, got 16", [](subbyte_conv_lut256 &l) { l.words = 16; }},
      {"words", [](subbyte_conv_lut256 &l) { l.words = 100; }},
      {"words", [](subbyte_conv_lut256 &l) { l.words = 512; }},
      {"images", [](subbyte_conv_lut256 &l) { l.geometry.images = 0; }},
      {"groups", [](subbyte_conv_lut256 &l) { l.geometry.groups = 3; }},
      {"kernel: expected a span", [](subbyte_conv_lut256 &l) { l.geometry.kernel[0] = 5; }},
      {"word_length", [](subbyte_conv_lut256 &l) { l.word_length = 17; }},
      {"shared", [](subbyte_conv_lut256 &l) { l.shared = 2; }},
      {"gain_levels", [](subbyte_conv_lut256 &l) { l.gain_levels = 257; }},
      {"input_zero", [](subbyte_conv_lut256 &l) { l.input_zero = 256; }},
      {"shift", [](subbyte_conv_lut256 &l) { l.shift = 9; }},
      {"too large",
       [](subbyte_conv_lut256 &l) {
         l.geometry.images = l.geometry.height = l.geometry.width = 1 << 30;
       }},
      {"taps", [](subbyte_conv_lut256 &l) { l.geometry.inputs = 1 << 30; }},
  };
  for (const auto &item : cases) {
    subbyte_conv_lut256 bad = good;
    item.spoil(bad);
    CHECK_EQUAL(subbyte_conv_lut256_packed_size(&bad), size_t{0});
    CHECK_EQUAL(subbyte_conv_lut256_scratch_size(&bad), size_t{0});
    if (!error_says(item.says)) check::failed(__FILE__, __LINE__, subbyte_error());
  }
  CHECK_EQUAL(subbyte_conv_lut256_packed_size(nullptr), size_t{0});
}

TEST(weights_it_refuses) {
  Random random(8);
  subbyte_conv_lut256 shape = plain(2, 2, 6, 5, 3, 128);
  shape.gain_levels = 4;
  const Case good = fill(shape, random);
  Aligned packed(subbyte_conv_lut256_packed_size(&shape));
  const auto pack = [&](const Case &c) {
    return subbyte_conv_lut256_pack(&shape, c.codes.data(), c.gain_codes.data(), c.gains.data(),
                                    c.codebook.data(), packed.data());
  };
  CHECK_EQUAL(pack(good), SUBBYTE_OK);
  Case bad = good;
  bad.codes.back() = 128;
  CHECK(pack(bad) == SUBBYTE_BAD_DATA && error_says("codes: expected less than 128, got 128"));
  bad = good;
  bad.gain_codes.back() = 4;
  CHECK(pack(bad) == SUBBYTE_BAD_DATA && error_says("gain_codes"));
  bad = good;
  bad.gains[1] = -65;
  CHECK(pack(bad) == SUBBYTE_BAD_DATA && error_says("gains"));
  bad = good;
  bad.codebook.back() = -127;
  CHECK(pack(bad) == SUBBYTE_BAD_DATA && error_says("codebook"));
  CHECK_EQUAL(subbyte_conv_lut256_pack(&shape, good.codes.data(), nullptr, good.gains.data(),
                                       good.codebook.data(), packed.data()),
              SUBBYTE_BAD_BUFFER);
}

TEST(runs_it_refuses) {
  Random random(9);
  subbyte_conv_lut256 shape = plain(3, 2, 8, 4, 4, 32);
  const Case c = fill(shape, random);
  Aligned packed(subbyte_conv_lut256_packed_size(&shape)),
      scratch(subbyte_conv_lut256_scratch_size(&shape));
  CHECK_EQUAL(subbyte_conv_lut256_pack(&shape, c.codes.data(), nullptr, nullptr, c.codebook.data(),
                                       packed.data()),
              SUBBYTE_OK);
  std::vector<int32_t> y(24);
  subbyte_output output = {};
  output.type = SUBBYTE_INT32;
  const auto run = [&](int64_t begin, int64_t end) {
    return subbyte_conv_lut256_run(&shape, packed.data(), c.x.data(), &output, y.data(), begin, end,
                                   scratch.data());
  };
  CHECK_EQUAL(run(0, 3), SUBBYTE_OK);
  CHECK_EQUAL(run(0, 4), SUBBYTE_BAD_SHAPE);
  output.type = 3;
  CHECK_EQUAL(run(0, 3), SUBBYTE_BAD_SHAPE);
  output.type = SUBBYTE_INT32;
  shape.words = 64;
  CHECK(run(0, 3) == SUBBYTE_BAD_BUFFER && error_says("packed"));
}

TEST(parts_of_the_outputs_of_few_rows) {
  Random random(10);
  for (const int words : kSizes) {
    for (const int rows : {1, 3, 4}) {
      subbyte_conv_lut256 shape = plain(rows, 1, 37, 300, 3, words);
      shape.gain_levels = pick(random, 0, 1) * 4;
      const Case c = fill(shape, random);
      const std::vector<int32_t> expected = sums(c);
      for (const auto *level : here()) {
        conv_lut256::Plan plan;
        CHECK_EQUAL(conv_lut256::make_plan(&shape, level, &plan), SUBBYTE_OK);
        Aligned packed(plan.packed_size), scratch(plan.scratch_size);
        CHECK_EQUAL(conv_lut256::pack(shape, plan, c.codes.data(), c.gain_codes.data(),
                                      c.gains.data(), c.codebook.data(), packed.data()),
                    SUBBYTE_OK);
        CHECK_EQUAL(conv_lut256::prepare(shape, plan, packed.data(), c.x.data(), scratch.data()),
                    SUBBYTE_OK);
        std::vector<int32_t> y(expected.size());
        subbyte_output output = {};
        output.type = SUBBYTE_INT32;
        const int64_t ends[] = {0, 128, 256, 300};
        for (const int part : {2, 0, 1}) {
          CHECK_EQUAL(conv_lut256::run_outputs(shape, plan, packed.data(), scratch.data(), &output,
                                               y.data(), ends[part], ends[part + 1]),
                      SUBBYTE_OK);
        }
        CHECK(y == expected);
      }
    }
  }
}

TEST(parts_it_refuses) {
  Random random(11);
  subbyte_conv_lut256 shape = plain(4, 1, 8, 300, 4, 32);
  const Case c = fill(shape, random);
  Aligned packed(subbyte_conv_lut256_packed_size(&shape)),
      scratch(subbyte_conv_lut256_scratch_size(&shape));
  CHECK_EQUAL(subbyte_conv_lut256_pack(&shape, c.codes.data(), nullptr, nullptr, c.codebook.data(),
                                       packed.data()),
              SUBBYTE_OK);
  std::vector<int32_t> y(1500);
  subbyte_output output = {};
  output.type = SUBBYTE_INT32;
  const auto prepare = [&] {
    return subbyte_conv_lut256_prepare(&shape, packed.data(), c.x.data(), scratch.data());
  };
  const auto run = [&](int64_t begin, int64_t end) {
    return subbyte_conv_lut256_run_outputs(&shape, packed.data(), scratch.data(), &output, y.data(),
                                           begin, end);
  };
  CHECK_EQUAL(prepare(), SUBBYTE_OK);
  CHECK_EQUAL(run(0, 300), SUBBYTE_OK);
  for (const int64_t end : {int64_t{100}, int64_t{301}, int64_t{384}}) {
    CHECK(run(0, end) == SUBBYTE_BAD_SHAPE && error_says("outputs: expected blocks of 128"));
  }
  CHECK_EQUAL(run(64, 300), SUBBYTE_BAD_SHAPE);
  CHECK_EQUAL(run(-128, 300), SUBBYTE_BAD_SHAPE);
  output.type = 3;
  CHECK_EQUAL(run(0, 300), SUBBYTE_BAD_SHAPE);
  shape.geometry.height = 5;
  CHECK(prepare() == SUBBYTE_BAD_SHAPE && error_says("at most 4 rows"));
  shape.geometry.height = 2;
  shape.geometry.width = 2;
  CHECK_EQUAL(prepare(), SUBBYTE_BAD_SHAPE);
  CHECK_EQUAL(run(0, 300), SUBBYTE_BAD_SHAPE);
}

}  // namespace

int main(int argc, char **argv) { return check::main(argc, argv); }
