// Weights packed for each kernel of the library, from codes that are already read and checked.
#pragma once

#include "ort/methods/method.h"
#include "ort/weights/choice.h"

namespace subbyte::ort {

constexpr int kGainUnit = 64;  // of gain levels: 64 is 1

// Product codes [outputs][taps][G], with or without a gain.
struct Lookup {
  std::vector<uint8_t> codes, gain_codes;
  const int8_t *gains = nullptr;
  int64_t gain_levels = 0;
  const int8_t *codebook = nullptr;
  int64_t books = 1, words = 0, length = 0;
};

std::unique_ptr<Weights> pack_lookup(const Geometry &geometry, const Lookup &lookup, int32_t shift,
                                     Runs runs);

// Weights [outputs][taps][channels].
std::unique_ptr<Weights> pack_int8(const Geometry &geometry, const std::vector<int8_t> &weight);

// Signs as subbyte_conv_binary_pack takes them; x is binarized as whole numbers.
std::unique_ptr<Weights> pack_binary(const Geometry &geometry, const Binarization &x,
                                     const uint8_t *signs);

// Weights levels[codes], kept as codes.
std::unique_ptr<Weights> pack_levels(const Geometry &geometry, int bits,
                                     const std::vector<uint8_t> &codes,
                                     const std::vector<int8_t> &levels, Runs runs);

}  // namespace subbyte::ort
