#include "ort/weights/packed.h"

#include <algorithm>
#include <cmath>

#include "ort/interface/error.h"
#include "ort/interface/parallel.h"
#include "subbyte/conv_binary.h"
#include "subbyte/conv_int4.h"
#include "subbyte/conv_int8.h"
#include "subbyte/conv_lut16.h"
#include "subbyte/conv_lut256.h"
#include "subbyte/gemv.h"

namespace subbyte::ort {
namespace {

constexpr int kFewestBits = 2;  // of the GEMV kernel

// The functions of a header of the library; their names begin with that of its layer.
#define SUBBYTE_KERNEL(Name, layer)                             \
  struct Name {                                                 \
    using Layer = layer;                                        \
    static constexpr auto packed_size = layer##_packed_size;    \
    static constexpr auto scratch_size = layer##_scratch_size;  \
    static constexpr auto run = layer##_run;                    \
  };
SUBBYTE_KERNEL(Lut16, subbyte_conv_lut16)
SUBBYTE_KERNEL(Lut256, subbyte_conv_lut256)
SUBBYTE_KERNEL(Int8, subbyte_conv_int8)
SUBBYTE_KERNEL(Int4, subbyte_conv_int4)
SUBBYTE_KERNEL(Binary, subbyte_conv_binary)
#undef SUBBYTE_KERNEL

// Sizes are positive: 0 is an error that the kernel library describes.
template <typename Size>
Size checked(Size size) {
  if (size == 0) throw Error(subbyte_error());
  return size;
}

template <typename Layer>
void place(const Geometry &g, Layer *layer) {
  layer->geometry = g;
  layer->input_zero = g.input_zero;
}

template <typename Kernel>
class Packed : public Weights {
 public:
  using Layer = typename Kernel::Layer;

  // `pack(layer, buffer)` fills the buffer and returns the kernel library's code.
  template <typename Pack>
  Packed(Geometry geometry, Layer layer, float unit, const Pack &pack)
      : layer_(layer), unit_(unit) {
    // Weights are packed for any size of x: here for the smallest.
    geometry.height = (geometry.kernel[0] - 1) * geometry.dilations[0] + 1;
    geometry.width = (geometry.kernel[1] - 1) * geometry.dilations[1] + 1;
    std::fill(geometry.pads, geometry.pads + 4, 0);
    place(geometry, &layer_);
    packed_ = Buffer(checked(Kernel::packed_size(&layer_)));
    check_kernel(pack(layer_, packed_.get()));
  }

  float unit() const override { return unit_; }

  void out_size(const Geometry &geometry, int64_t *height, int64_t *width) const override {
    // An x that the kernel refuses is refused before y is allocated.
    const Layer layer = at(geometry);
    checked(Kernel::scratch_size(&layer));
    check_kernel(subbyte_out_size(&geometry, height, width));
  }

  int64_t parts(const Geometry &geometry) const override {
    int64_t height = 0, width = 0;
    check_kernel(subbyte_out_size(&geometry, &height, &width));
    return geometry.images * height;
  }

  const void *prepare(const Geometry &, const uint8_t *x) const override { return x; }

  void run(const Geometry &geometry, const void *x, const subbyte_output &output, void *y,
           int64_t begin, int64_t end) const override {
    const Layer layer = at(geometry);
    void *memory = scratch(checked(Kernel::scratch_size(&layer)));
    check_kernel(Kernel::run(&layer, packed_.get(), static_cast<const uint8_t *>(x), &output, y,
                             begin, end, memory));
  }

 protected:
  Layer at(const Geometry &geometry) const {
    Layer layer = layer_;
    place(geometry, &layer);
    return layer;
  }

  const void *packed() const { return packed_.get(); }

 private:
  Layer layer_;
  Buffer packed_;
  float unit_;
};

// A linear layer of many words. Of few rows, the parts are blocks of outputs.
class Lut256Linear final : public Packed<Lut256> {
 public:
  using Packed::Packed;

  int64_t parts(const Geometry &geometry) const override {
    if (!few(geometry)) return Packed::parts(geometry);
    return (geometry.outputs + SUBBYTE_CONV_LUT256_BLOCK - 1) / SUBBYTE_CONV_LUT256_BLOCK;
  }

  const void *prepare(const Geometry &geometry, const uint8_t *x) const override {
    if (!few(geometry)) return x;
    const subbyte_conv_lut256 layer = at(geometry);
    void *memory = scratch(checked(subbyte_conv_lut256_scratch_size(&layer)));
    check_kernel(subbyte_conv_lut256_prepare(&layer, packed(), x, memory));
    return memory;
  }

  void run(const Geometry &geometry, const void *prepared, const subbyte_output &output, void *y,
           int64_t begin, int64_t end) const override {
    if (!few(geometry)) return Packed::run(geometry, prepared, output, y, begin, end);
    const subbyte_conv_lut256 layer = at(geometry);
    const int64_t last = std::min(end * SUBBYTE_CONV_LUT256_BLOCK, geometry.outputs);
    check_kernel(subbyte_conv_lut256_run_outputs(&layer, packed(), prepared, &output, y,
                                                 begin * SUBBYTE_CONV_LUT256_BLOCK, last));
  }

 private:
  static bool few(const Geometry &geometry) { return geometry.height <= SUBBYTE_CONV_LUT256_ROWS; }
};

struct Lut16Stream {
  using Layer = subbyte_gemv_lut16;
  static constexpr auto packed_size = subbyte_gemv_lut16_packed_size;
  static constexpr auto scratch_size = subbyte_gemv_lut16_scratch_size;
  static constexpr auto prepare = subbyte_gemv_lut16_prepare;
  static constexpr auto run = subbyte_gemv_lut16_run;
};

struct Int4Stream {
  using Layer = subbyte_gemv_int4;
  static constexpr auto packed_size = subbyte_gemv_int4_packed_size;
  static constexpr auto scratch_size = subbyte_gemv_int4_scratch_size;
  static constexpr auto prepare = subbyte_gemv_int4_prepare;
  static constexpr auto run = subbyte_gemv_int4_run;
};

// Weights of a linear layer that are read from memory as codes; its parts are blocks of outputs.
template <typename Kernel>
class Streamed final : public Weights {
 public:
  using Layer = typename Kernel::Layer;

  template <typename Pack>
  Streamed(const Geometry &geometry, Layer layer, float unit, const Pack &pack)
      : layer_(layer), unit_(unit) {
    layer_.rows = 1;
    layer_.inputs = geometry.inputs;
    layer_.outputs = geometry.outputs;
    layer_.input_zero = geometry.input_zero;
    packed_ = Buffer(checked(Kernel::packed_size(&layer_)));
    check_kernel(pack(layer_, packed_.get()));
  }

  float unit() const override { return unit_; }

  void out_size(const Geometry &geometry, int64_t *height, int64_t *width) const override {
    *height = geometry.height;
    *width = 1;
  }

  int64_t parts(const Geometry &) const override {
    return (layer_.outputs + subbyte_gemv_block() - 1) / subbyte_gemv_block();
  }

  const void *prepare(const Geometry &geometry, const uint8_t *x) const override {
    const Layer layer = at(geometry);
    void *memory = scratch(checked(Kernel::scratch_size(&layer)));
    check_kernel(Kernel::prepare(&layer, packed_.get(), x, memory));
    return memory;
  }

  void run(const Geometry &geometry, const void *prepared, const subbyte_output &output, void *y,
           int64_t begin, int64_t end) const override {
    const Layer layer = at(geometry);
    const int64_t block = subbyte_gemv_block();
    check_kernel(Kernel::run(&layer, packed_.get(), prepared, &output, y, begin * block,
                             std::min(end * block, layer.outputs)));
  }

 private:
  Layer at(const Geometry &geometry) const {
    Layer layer = layer_;
    layer.rows = geometry.height;
    return layer;
  }

  Layer layer_;
  Buffer packed_;
  float unit_;
};

template <typename Made, typename Layer, typename Pack>
std::unique_ptr<Weights> make_lookup(const Geometry &g, Layer layer, const Lookup &lookup,
                                     int32_t shift, const Pack &pack) {
  layer.word_length = lookup.length;
  layer.shared = lookup.books == 1;
  layer.gain_levels = static_cast<int32_t>(lookup.gain_levels);
  layer.shift = shift;
  const float unit = std::ldexp(lookup.gain_levels ? 1.0F / kGainUnit : 1.0F, shift);
  return std::make_unique<Made>(g, layer, unit, [&](const Layer &placed, void *packed) {
    return pack(&placed, lookup.codes.data(),
                lookup.gain_levels ? lookup.gain_codes.data() : nullptr, lookup.gains,
                lookup.codebook, packed);
  });
}

}  // namespace

std::unique_ptr<Weights> pack_lookup(const Geometry &g, const Lookup &lookup, int32_t shift,
                                     Runs runs) {
  if (runs == Runs::kConvLut256) {
    subbyte_conv_lut256 layer = {};
    layer.words = static_cast<int32_t>(lookup.words);
    if (g.few_rows) {
      return make_lookup<Lut256Linear>(g, layer, lookup, shift, subbyte_conv_lut256_pack);
    }
    return make_lookup<Packed<Lut256>>(g, layer, lookup, shift, subbyte_conv_lut256_pack);
  }
  if (runs == Runs::kGemvLut16) {
    return make_lookup<Streamed<Lut16Stream>>(g, subbyte_gemv_lut16{}, lookup, shift,
                                              subbyte_gemv_lut16_pack);
  }
  return make_lookup<Packed<Lut16>>(g, subbyte_conv_lut16{}, lookup, shift,
                                    subbyte_conv_lut16_pack);
}

std::unique_ptr<Weights> pack_int8(const Geometry &g, const std::vector<int8_t> &weight) {
  return std::make_unique<Packed<Int8>>(
      g, subbyte_conv_int8{}, 1.0F, [&](const subbyte_conv_int8 &layer, void *packed) {
        return subbyte_conv_int8_pack(&layer, weight.data(), packed);
      });
}

std::unique_ptr<Weights> pack_binary(const Geometry &g, const Binarization &x,
                                     const uint8_t *signs) {
  subbyte_conv_binary layer = {};
  layer.order = x.order;
  layer.scales = x.scales;
  layer.input_type = SUBBYTE_UINT8;
  layer.input_scale = 1;
  return std::make_unique<Packed<Binary>>(g, layer, 1.0F,
                                          [&](const subbyte_conv_binary &placed, void *packed) {
                                            return subbyte_conv_binary_pack(&placed, signs, packed);
                                          });
}

std::unique_ptr<Weights> pack_levels(const Geometry &g, int bits, const std::vector<uint8_t> &codes,
                                     const std::vector<int8_t> &levels, Runs runs) {
  if (runs == Runs::kGemvInt4) {
    subbyte_gemv_int4 layer = {};
    layer.bits = std::max(bits, kFewestBits);
    std::vector<int8_t> all = levels;
    all.resize(size_t{1} << layer.bits);
    return std::make_unique<Streamed<Int4Stream>>(
        g, layer, 1.0F, [&](const subbyte_gemv_int4 &placed, void *packed) {
          return subbyte_gemv_int4_pack(&placed, codes.data(), all.data(), packed);
        });
  }
  subbyte_conv_int4 layer = {};
  layer.bits = bits;
  return std::make_unique<Packed<Int4>>(
      g, layer, 1.0F, [&](const subbyte_conv_int4 &placed, void *packed) {
        return subbyte_conv_int4_pack(&placed, codes.data(), levels.data(), packed);
      });
}

}  // namespace subbyte::ort
