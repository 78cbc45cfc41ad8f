// Every level of the binary kernels against the formulas of subbyte/conv_binary.h.
#include "conv_binary_cases.h"

TEST(every_level_computes_the_formulas_on_random_layers) {
  Random random(1);
  for (int i = 0; i < 250; ++i) {
    const Case c = fill(random_shape(random), random);
    const int64_t rows = c.shape.geometry.images * c.out_height;
    check_case(c, static_cast<size_t>(pick(random, 0, 3)), pick(random, 0, static_cast<int>(rows)));
  }
}

TEST(every_level_computes_the_formulas_around_tile_edges) {
  Random random(2);
  for (const int outputs : {1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65, 100, 129}) {
    for (const int pixels : {1, 2, 3, 4, 5, 6, 7, 8, 13}) {
      check_case(fill(plain(pixels, 1, 1 + outputs % 9, outputs, 1 + pixels % 2, pick(random, 0, 2)),
                      random));
    }
  }
}

TEST(every_order_on_every_level) {
  Random random(3);
  for (const int scales : {SUBBYTE_PER_COLUMN, SUBBYTE_PER_PIXEL, SUBBYTE_PER_IMAGE}) {
    for (int order = 1; order <= conv_binary::kMaxOrder; ++order) {
      subbyte_conv_binary l = plain(3, 5, 21, 40, order, scales);
      l.geometry.kernel[0] = l.geometry.kernel[1] = 3;
      std::fill(l.geometry.pads, l.geometry.pads + 4, 1);
      check_case(fill(l, random), 1, 1);
    }
  }
}

TEST(every_level_computes_the_formulas_around_words_of_channels) {
  Random random(4);
  for (const int channels : {1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 31, 33, 47, 48, 49, 63, 64, 65, 79,
                             80, 81, 127, 128, 129, 192, 200}) {
    for (const int type : {SUBBYTE_FLOAT, SUBBYTE_UINT8}) {
      subbyte_conv_binary l = plain(2, 3, channels, 18, 3, channels % 3);
      l.geometry.kernel[1] = 2;
      l.geometry.pads[3] = 1;
      l.input_type = type;
      l.input_scale = 0.125F;
      l.input_zero = 100;
      check_case(fill(l, random), 1);
    }
  }
}

// Without residuals as floats; among them residuals that are zero, as a mean is one of the sizes.
TEST(every_level_splits_bytes) {
  Random random(15);
  for (const int channels : {1, 5, 31, 32, 33, 63, 64, 65, 96, 127, 128, 130, 200}) {
    for (int i = 0; i < 8; ++i) {
      subbyte_conv_binary l = plain(3, 4, 2 * channels, 20, 1 + i % 2);
      l.geometry.groups = 2;
      l.geometry.kernel[0] = pick(random, 1, 3);
      l.geometry.kernel[1] = 2;
      l.geometry.strides[1] = pick(random, 1, 2);
      l.geometry.dilations[1] = pick(random, 1, 2);
      l.geometry.pads[0] = l.geometry.pads[3] = pick(random, 0, 1);
      l.input_type = SUBBYTE_UINT8;
      l.input_scale = 0.3F;
      l.input_zero = i < 4 ? pick(random, 1, 254) : 255 * (i / 2 % 2);
      Case c = fill(l, random);
      // Sizes of 0 and 2, or of 1 alone.
      const int zero = std::min(std::max(l.input_zero, 2), 253), width = pick(random, 0, 1);
      if (i < 4) c.shape.input_zero = zero;
      for (float &v : c.x) {
        if (i >= 2) break;
        v = static_cast<float>(zero + (width == 0 ? 2 * pick(random, -1, 1)
                                                  : 2 * pick(random, 0, 1) - 1));
      }
      check_case(c, 1, 1);
    }
  }
}

TEST(every_level_computes_bands_of_rows) {
  Random random(5);
  for (const int scales : {SUBBYTE_PER_COLUMN, SUBBYTE_PER_PIXEL, SUBBYTE_PER_IMAGE}) {
    for (const int stride : {1, 2, 4}) {
      subbyte_conv_binary l = plain(scales == SUBBYTE_PER_COLUMN ? 40 : 2400, 30, 64, 2, 2, scales);
      if (scales != SUBBYTE_PER_COLUMN) l.geometry.width = 2;
      l.geometry.kernel[0] = 3;
      l.geometry.pads[0] = l.geometry.pads[2] = 1;
      l.geometry.strides[0] = stride;
      if (stride == 2) l.input_type = SUBBYTE_UINT8;
      if (stride == 2) l.input_scale = 0.5F;
      const Case c = fill(l, random);
      conv_binary::Plan plan;
      CHECK_EQUAL(conv_binary::make_plan(&l, &conv_binary::kPortable, &plan), SUBBYTE_OK);
      if (scales == SUBBYTE_PER_COLUMN) CHECK(stride == 2 || plan.band < plan.out_height);
      check_case(c, 0, 7);
    }
  }
}

// More words than 16-bit sums hold, and every sign different from every weight's.
TEST(every_level_counts_long_vectors) {
  Random random(6);
  for (const bool all : {true, false}) {
    Case c = fill(plain(1, 2, 140000, 5, all ? 1 : 2), random);
    if (all) {
      std::fill(c.signs.begin(), c.signs.end(), uint8_t{0xFF});
      std::fill(c.x.begin(), c.x.end(), 1.0F);
    }
    check_case(c);
  }
}

TEST(outputs_in_the_padding_alone_are_zero_at_order_1) {
  Random random(7);
  subbyte_conv_binary l = plain(1, 1, 5, 3);
  std::fill(l.geometry.pads, l.geometry.pads + 4, 3);
  l.geometry.strides[0] = l.geometry.strides[1] = 3;
  check_case(fill(l, random));
  l.order = 3;
  check_case(fill(l, random));
}

TEST(order_1_has_the_same_sums_per_column_and_per_pixel) {
  Random random(8);
  Case c = fill(random_shape(random), random);
  c.shape.order = 1;
  c.shape.scales = SUBBYTE_PER_COLUMN;
  const Floats columns = expected(c);
  c.shape.scales = SUBBYTE_PER_PIXEL;
  CHECK(columns == expected(c));
}

// |r_k|^2 = |r_{k-1}|^2 - n beta_k^2: what the test's own decomposition must fulfil.
TEST(every_order_takes_n_beta_squared_from_the_error) {
  Random random(9);
  Floats values;
  for (int i = 0; i < 300; ++i) values.push_back(random_value(random));
  const Orders orders = orders_of({values}, 6, sum_of({values}), {});
  std::vector<double> r(values.begin(), values.end());
  for (size_t k = 0; k < 6; ++k) {
    const double beta = static_cast<double>(orders.sums[k]) / 300;
    double before = 0, after = 0;
    for (size_t i = 0; i < r.size(); ++i) {
      before += r[i] * r[i];
      r[i] -= beta * static_cast<double>(orders.signs[k][0][i]);
      after += r[i] * r[i];
    }
    CHECK(std::fabs(after - (before - 300 * beta * beta)) <= 1e-4 * before);
  }
}

TEST(every_level_ends_as_the_output_stage_says) {
  Random random(10);
  for (int i = 0; i < 60; ++i) {
    const Case c = fill(random_shape(random), random);
    const Floats sums = expected(c);
    const auto outputs = static_cast<size_t>(c.shape.geometry.outputs);
    Floats scale(outputs), bias(outputs);
    for (size_t o = 0; o < outputs; ++o) {
      scale[o] = static_cast<float>(pick(random, 1, 100)) * 1e-2F;
      bias[o] = static_cast<float>(pick(random, -100, 100)) / 2;
    }
    std::vector<uint8_t> r(sums.size());
    for (auto &v : r) v = static_cast<uint8_t>(pick(random, 0, 255));
    const uint8_t *residual = pick(random, 0, 1) == 0 ? nullptr : r.data();
    const float inner = pick(random, 0, 1) == 0 ? 0.0F : 0.75F;
    subbyte_output output = {SUBBYTE_UINT8, scale.data(), bias.data(), residual, 0.375F, 3,
                             pick(random, 0, 255), 5, 250, inner, 100, nullptr};
    each_level([&](const conv_binary::Level &level) {
      output.type = SUBBYTE_UINT8;
      const auto bytes = compute<uint8_t>(c, level, output, 1);
      output.type = SUBBYTE_FLOAT;
      const auto floats = compute<float>(c, level, output, 1);
      for (size_t at = 0; at < sums.size(); ++at) {
        const float product = sums[at] * scale[at % outputs];
        float v = product + bias[at % outputs];
        if (residual != nullptr && inner != 0) {
          v = std::nearbyint(std::min(std::max(v, -100.0F), 155.0F)) * inner;
        }
        const float summand = static_cast<float>(r[at] - 3) * 0.375F;
        if (residual != nullptr) v = v + summand;
        CHECK_EQUAL(floats[at], v);
        const double q = std::nearbyint(static_cast<double>(v)) + output.zero;
        CHECK_EQUAL(static_cast<double>(bytes[at]), std::min(std::max(q, 5.0), 250.0));
      }
    });
  }
}

// What is not a number, or infinite, is the same wherever it goes.
TEST(every_level_passes_on_what_is_not_a_number) {
  Random random(11);
  const float strange[] = {std::numeric_limits<float>::quiet_NaN(),
                           std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity(), 3e38F};
  for (const float value : strange) {
    subbyte_conv_binary l = plain(3, 4, 19, 9, 3, pick(random, 0, 2));
    l.geometry.kernel[0] = 2;
    Case c = fill(l, random);
    c.x[17] = value;
    const Plain plain_output(c);
    const Floats reference = compute<float>(c, conv_binary::kReference, plain_output.output);
    each_level([&](const conv_binary::Level &level) {
      const Floats got = compute<float>(c, level, plain_output.output);
      for (size_t i = 0; i < got.size(); ++i) {
        CHECK(got[i] == reference[i] || (std::isnan(got[i]) && std::isnan(reference[i])));
      }
    });
  }
}

TEST(bad_layers_are_refused) {
  const struct {
    const char *says;
    void (*spoil)(subbyte_conv_binary &);
  } cases[] = {
      {"images", [](subbyte_conv_binary &l) { l.geometry.images = 0; }},
      {"inputs", [](subbyte_conv_binary &l) { l.geometry.inputs = -8; }},
      {"groups", [](subbyte_conv_binary &l) { l.geometry.groups = 3; }},
      {"order: expected 1 to 8, got 0", [](subbyte_conv_binary &l) { l.order = 0; }},
      {"order", [](subbyte_conv_binary &l) { l.order = 9; }},
      {"scales", [](subbyte_conv_binary &l) { l.scales = 3; }},
      {"input_type", [](subbyte_conv_binary &l) { l.input_type = SUBBYTE_INT32; }},
      {"input_scale", [](subbyte_conv_binary &l) { l.input_type = SUBBYTE_UINT8; }},
      {"input_scale",
       [](subbyte_conv_binary &l) {
         l.input_type = SUBBYTE_UINT8;
         l.input_scale = std::nanf("");
       }},
      {"input_scale",
       [](subbyte_conv_binary &l) {
         l.input_type = SUBBYTE_UINT8;
         l.input_scale = HUGE_VALF;
       }},
      {"input_zero",
       [](subbyte_conv_binary &l) {
         l.input_type = SUBBYTE_UINT8;
         l.input_scale = 1;
         l.input_zero = 256;
       }},
      {"products", [](subbyte_conv_binary &l) { l.geometry.inputs = (1 << 24) + 1; }},
      {"too large",
       [](subbyte_conv_binary &l) {
         l.geometry.images = l.geometry.height = l.geometry.width = 1 << 30;
       }},
      {"too large",
       [](subbyte_conv_binary &l) {
         l.geometry.inputs = 1 << 24;
         l.geometry.outputs = 1 << 30;
       }},
      {"too large",
       [](subbyte_conv_binary &l) {
         l.geometry.pads[1] = l.geometry.pads[3] = 1 << 30;
         l.geometry.inputs = 1 << 20;
         l.geometry.strides[1] = 1 << 30;
       }},
      {"kernel", [](subbyte_conv_binary &l) { l.geometry.kernel[1] = 5; }},
  };
  for (const auto &item : cases) {
    each_level([&](const conv_binary::Level &level) {
      subbyte_conv_binary bad = plain(4, 4, 8, 8, 2);
      item.spoil(bad);
      conv_binary::Plan plan;
      CHECK(conv_binary::make_plan(&bad, &level, &plan) == SUBBYTE_BAD_SHAPE);
      if (std::strstr(subbyte::last_error(), item.says) == nullptr) {
        check::failed(__FILE__, __LINE__, subbyte::last_error());
      }
    });
    subbyte_conv_binary bad = plain(4, 4, 8, 8, 2);
    item.spoil(bad);
    CHECK_EQUAL(subbyte_conv_binary_packed_size(&bad), size_t{0});
    CHECK_EQUAL(subbyte_conv_binary_scratch_size(&bad), size_t{0});
  }
  CHECK_EQUAL(subbyte_conv_binary_packed_size(nullptr), size_t{0});
}

// Whatever the fields, a plan is refused or its sizes are sane.
TEST(hostile_layers_are_refused_or_sized) {
  Random random(12);
  const int64_t values[] = {-1, 0, 1, 2, 3, 7, 64, 1 << 15, 1 << 24, 1 << 30,
                            int64_t{1} << 40, INT64_MAX, INT64_MIN};
  int accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    subbyte_conv_binary l = plain(5, 5, 8, 8, pick(random, 0, 9), pick(random, -1, 3));
    int64_t *const fields[] = {
        &l.geometry.images,     &l.geometry.height,       &l.geometry.width,
        &l.geometry.inputs,     &l.geometry.outputs,      &l.geometry.groups,
        &l.geometry.kernel[0],  &l.geometry.kernel[1],    &l.geometry.strides[0],
        &l.geometry.strides[1], &l.geometry.dilations[0], &l.geometry.dilations[1],
        &l.geometry.pads[0],    &l.geometry.pads[1],      &l.geometry.pads[2],
        &l.geometry.pads[3]};
    for (int changes = pick(random, 1, 4); changes > 0; --changes) {
      *fields[pick(random, 0, 15)] = values[pick(random, 0, 12)];
    }
    each_level([&](const conv_binary::Level &level) {
      conv_binary::Plan plan;
      if (conv_binary::make_plan(&l, &level, &plan) != SUBBYTE_OK) return;
      ++accepted;
      CHECK(plan.packed_size < size_t{1} << 48 && plan.scratch_size < size_t{1} << 52);
      CHECK(plan.band >= 1 && plan.band <= plan.out_height);
    });
  }
  CHECK(accepted > 1000);
}

TEST(bad_calls_are_refused) {
  Random random(13);
  const Case c = fill(plain(3, 2, 8, 8), random);
  layers::Aligned packed(subbyte_conv_binary_packed_size(&c.shape));
  layers::Aligned scratch(subbyte_conv_binary_scratch_size(&c.shape));
  CHECK_EQUAL(subbyte_conv_binary_pack(&c.shape, c.signs.data(), packed.data()), SUBBYTE_OK);
  CHECK_EQUAL(subbyte_conv_binary_pack(&c.shape, nullptr, packed.data()), SUBBYTE_BAD_BUFFER);
  Plain good(c);
  Floats y(48);
  subbyte_conv_binary shape = c.shape;
  const auto call = [&](int64_t begin, int64_t end, size_t shift = 0) {
    const auto *x = reinterpret_cast<const char *>(c.x.data()) + shift;
    return subbyte_conv_binary_run(&shape, packed.data(), x, &good.output, y.data(), begin, end,
                                   scratch.data());
  };
  CHECK_EQUAL(call(0, 3), SUBBYTE_OK);
  CHECK_EQUAL(call(0, 0, 1), SUBBYTE_BAD_BUFFER);
  CHECK_EQUAL(call(0, 4), SUBBYTE_BAD_SHAPE);
  CHECK_EQUAL(call(-1, 3), SUBBYTE_BAD_SHAPE);
  good.output.type = SUBBYTE_INT32;
  CHECK_EQUAL(call(0, 3), SUBBYTE_BAD_SHAPE);
  good.output.type = SUBBYTE_FLOAT;
  good.output.bias = nullptr;
  CHECK_EQUAL(call(0, 3), SUBBYTE_BAD_BUFFER);
  good.output.bias = good.bias.data();
  shape.geometry.outputs = 16;
  CHECK_EQUAL(call(0, 3), SUBBYTE_BAD_BUFFER);
}

// Only what the header says must be the same when weights are run.
TEST(weights_serve_other_sizes_and_orders) {
  Random random(14);
  const Case packed_for = fill(plain(3, 2, 8, 8), random);
  conv_binary::Plan plan;
  CHECK_EQUAL(conv_binary::make_plan(&packed_for.shape, &conv_binary::kPortable, &plan),
              SUBBYTE_OK);
  layers::Aligned packed(plan.packed_size);
  conv_binary::pack(packed_for.shape, plan, packed_for.signs.data(), packed.data());
  Case other = fill(plain(5, 7, 8, 8, 3, SUBBYTE_PER_PIXEL), random);
  other.signs = packed_for.signs;
  const Plain output(other);
  const Floats sums = expected(other);
  CHECK_EQUAL(conv_binary::make_plan(&other.shape, &conv_binary::kPortable, &plan), SUBBYTE_OK);
  layers::Aligned scratch(plan.scratch_size);
  Floats y(sums.size());
  CHECK_EQUAL(conv_binary::run(other.shape, plan, packed.data(), other.x.data(), &output.output,
                               y.data(), 0, 5, scratch.data()),
              SUBBYTE_OK);
  CHECK(y == sums);
}

TEST(the_level_follows_that_of_the_library) {
  const std::string active = subbyte_conv_binary_isa();
  CHECK(active == conv_binary::kLevels.at(subbyte_isa())->name);
}

int main(int argc, char **argv) { return check::main(argc, argv); }
