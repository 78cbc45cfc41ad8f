#include "ort/weights/choice.h"

#include "checks.h"
#include "geometry.h"

namespace subbyte::ort {
namespace {

// Weights of a linear layer that leave the nearest caches, so that memory is the limit.
constexpr int64_t kStreamed = 1 << 20;
// What the GEMV kernels take.
constexpr int64_t kStreamedGains = 16;
constexpr int64_t kStreamedInputs = 1 << 16;
constexpr int kStreamedBits = 4;
// From so many pixels of an image (rows of a linear layer) on, unpacking weights of 3 and 4 bits
// costs a hundredth or two of the time (docs/decisions/0017-packed-codes-in-convolutions.md).
constexpr double kUnpackPixels = 48;
// What the look-up kernels take: codes of one sum, filled up to four (subbyte_conv_lut16).
constexpr int64_t kLookupCodes = 1 << 16;
constexpr int64_t kLookupLength = 16;

bool streamed(const Geometry &g) { return g.few_rows && g.inputs * g.outputs >= kStreamed; }

bool unpacked(const Geometry &g, int bits) {
  const bool depthwise = g.groups > 1 && g.inputs == g.groups && g.outputs == g.groups;
  return (bits == 3 || bits == 4) && !depthwise && g.pixels >= kUnpackPixels;
}

Runs choose_words(const Geometry &g, const subbyte_weights &w) {
  if (w.table_shift == 0 || w.words < kLut16Words || w.word_length > kLookupLength) {
    return Runs::kConvInt8;
  }
  const int64_t codes = (g.inputs / g.groups + w.word_length - 1) / w.word_length;
  if (g.kernel[0] * g.kernel[1] > kLookupCodes / ((codes + 3) / 4 * 4)) return Runs::kConvInt8;
  if (w.words > kLut16Words) return Runs::kConvLut256;
  const bool gemv = streamed(g) && w.gain_levels <= kStreamedGains;
  return gemv ? Runs::kGemvLut16 : Runs::kConvLut16;
}

Runs choose_levels(const Geometry &g, const subbyte_weights &w) {
  if (streamed(g) && w.bits <= kStreamedBits && g.inputs <= kStreamedInputs) {
    return Runs::kGemvInt4;
  }
  if (unpacked(g, w.bits)) return Runs::kConvInt4;
  if (w.bits != 2) return Runs::kConvInt8;
  subbyte_weights pairs = w;
  pairs.words = kLut16Words;
  pairs.word_length = 2;
  pairs.gain_levels = 0;
  return choose_words(g, pairs);
}

const char *name_of(Runs runs) {
  switch (runs) {
    case Runs::kConvBinary:
      return "conv_binary";
    case Runs::kConvInt4:
      return "conv_int4";
    case Runs::kConvInt8:
      return "conv_int8";
    case Runs::kConvLut16:
      return "conv_lut16";
    case Runs::kConvLut256:
      return "conv_lut256";
    case Runs::kGemvInt4:
      return "gemv_int4";
    case Runs::kGemvLut16:
      return "gemv_lut16";
  }
  return nullptr;
}

}  // namespace

Runs choose(const Geometry &geometry, const subbyte_weights &weights) {
  switch (weights.format) {
    case SUBBYTE_WEIGHTS_WORDS:
      return choose_words(geometry, weights);
    case SUBBYTE_WEIGHTS_LEVELS:
      return choose_levels(geometry, weights);
    case SUBBYTE_WEIGHTS_SIGNS:
      return Runs::kConvBinary;
    default:
      return Runs::kConvInt8;
  }
}

}  // namespace subbyte::ort

const char *subbyte_kernel_of(const subbyte_geometry *geometry, const subbyte_weights *weights) {
  using namespace subbyte;
  int64_t height = 0, width = 0;
  int status = subbyte_out_size(geometry, &height, &width);
  if (status == SUBBYTE_OK) status = check_pointer("weights", weights);
  if (status == SUBBYTE_OK) {
    status = check_field({"format", weights->format, SUBBYTE_WEIGHTS_INT8, SUBBYTE_WEIGHTS_SIGNS});
  }
  if (status == SUBBYTE_OK && weights->format == SUBBYTE_WEIGHTS_WORDS) {
    status = check_field({"word_length", weights->word_length, 1, kLargest});
  }
  if (status != SUBBYTE_OK) return nullptr;
  ort::Geometry layer;
  static_cast<subbyte_geometry &>(layer) = *geometry;
  layer.pixels = static_cast<double>(height) * static_cast<double>(width);
  layer.few_rows = weights->linear != 0 && layer.pixels <= ort::kFewRows;
  return ort::name_of(ort::choose(layer, *weights));
}
