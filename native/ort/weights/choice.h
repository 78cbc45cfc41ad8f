// Which kernel runs a layer: the rule of subbyte/choice.h.
#pragma once

#include "ort/weights/weights.h"
#include "subbyte/choice.h"

namespace subbyte::ort {

enum class Runs {
  kConvBinary,
  kConvInt4,
  kConvInt8,
  kConvLut16,
  kConvLut256,
  kGemvInt4,
  kGemvLut16
};

constexpr int kLut16Words = 16;

// Up to here a linear layer's time goes into reading its weights (measured on 3 million).
constexpr double kFewRows = 4;

Runs choose(const Geometry &geometry, const subbyte_weights &weights);

}  // namespace subbyte::ort
