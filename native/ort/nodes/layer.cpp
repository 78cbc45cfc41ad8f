// Coded convolutions and linear layers: <Method><Op><Form> of docs/format.md, and
// <Method><Op>Unary<number>, with the table of a function of one value.
#include <algorithm>
#include <cmath>

#include "ort/interface/error.h"
#include "ort/interface/kernel.h"
#include "ort/interface/parallel.h"
#include "ort/methods/method.h"
#include "ort/nodes/shapes.h"
#include "ort/weights/choice.h"
#include "subbyte/conv_binary.h"

namespace subbyte::ort {
namespace {

enum class Op { kConv, kConvSame, kLinear };
enum class Form { kPlain, kAdd, kDequant, kUnary };

struct Kind {
  const Method *method;
  Binarization x;
  Op op;
  Form form;
};

// Functions of a file that are native behind a layer. Beyond, and behind layers with binary inputs,
// the file's own function serves, which is the layer and the function one after the other: every
// operator makes every session slower to open, and few networks have more than two functions.
constexpr int kMostFunctions = 4;
constexpr int64_t kCodes = 256;  // of a table
constexpr int64_t kLargest = int64_t{1} << 30;
constexpr int64_t kMostKernel = 1 << 15;  // and the most of a dilation
// More padding than any network has, and little enough that y stays a size one can allocate.
constexpr int64_t kMostPadding = 1024;
constexpr int32_t kMostOrder = 8;  // of binary inputs

int64_t span(const Geometry &g, int axis) {
  return (g.kernel[axis] - 1) * g.dilations[axis] + 1;
}

class Layer final : public Kernel {
 public:
  Layer(const KernelInfo &info, const Kind &kind) : kind_(kind) {
    read_geometry(info);
    geometry_.pixels = expected_pixels(info.shape(0));
    geometry_.few_rows = kind_.op == Op::kLinear && geometry_.pixels <= kFewRows;
    Coded coded = kind.method->read(info, geometry_, kind.x);
    weights_ = std::move(coded.weights);
    read_output(info, coded.scale);
  }

  void compute(const KernelContext &context) const override {
    const Tensor x = context.input(0, "x", Type::kUint8);
    Geometry geometry = geometry_;
    Dims dims = kind_.op == Op::kLinear ? place_linear(x, &geometry) : place_conv(x, &geometry);
    subbyte_output output = output_;
    if (kind_.form == Form::kAdd) {
      const Tensor r = context.input(summand_, "r", Type::kUint8);
      if (r.dims != dims) {
        throw wrong("r", shape_text(dims.data(), dims.size()),
                       shape_text(r.dims.data(), r.dims.size()));
      }
      output.residual = r.as<uint8_t>();
    }
    void *y = context.output(dims);
    if (std::find(dims.begin(), dims.end(), 0) != dims.end()) return;
    const int64_t parts = weights_->parts(geometry);
    const void *prepared = weights_->prepare(geometry, x.as<uint8_t>());
    const int64_t cost = products(geometry, dims) / parts;
    parallel_.run(context, parts, cost, [&](int64_t begin, int64_t end) {
      weights_->run(geometry, prepared, output, y, begin, end);
    });
  }

 private:
  // Rows of a linear layer's x, as far as they are known: a free dimension is a batch, of one.
  static double rows_of(const Dims &dims) {
    double rows = 1;
    for (size_t i = 0; i + 1 < dims.size(); ++i) {
      rows *= static_cast<double>(std::max<int64_t>(dims[i], 1));
    }
    return rows;
  }

  // Pixels of y in one image: many where height or width is free.
  double expected_pixels(const Dims &x) const {
    if (kind_.op == Op::kLinear) return rows_of(x);
    if (x.size() != 4 || x[1] < 1 || x[2] < 1) return kLargest;
    Geometry g = geometry_;
    g.height = std::min(x[1], kLargest);
    g.width = std::min(x[2], kLargest);
    if (kind_.op == Op::kConvSame) pad_same(&g);
    double pixels = 1;
    for (int axis = 0; axis < 2; ++axis) {
      const int64_t size = axis == 0 ? g.height : g.width;
      const int64_t room = size + g.pads[axis] + g.pads[axis + 2] - span(g, axis);
      pixels *= static_cast<double>(room < 0 ? 0 : room / g.strides[axis] + 1);
    }
    return pixels;
  }

  // Multiplications of a layer whose y has these dims, or 2^62 if there are more.
  static int64_t products(const Geometry &g, const Dims &dims) {
    double count = static_cast<double>(g.kernel[0] * g.kernel[1] * (g.inputs / g.groups));
    for (const int64_t dim : dims) count *= static_cast<double>(dim);
    return static_cast<int64_t>(std::min(count, 0x1p62));
  }

  void read_geometry(const KernelInfo &info) {
    const Dims weight = info.integers("weight_shape", 3, 1, kLargest);
    Geometry &g = geometry_;
    g.outputs = weight[0];
    g.groups = kind_.op == Op::kLinear ? 1 : info.integer("group", 1, kLargest);
    if (weight[2] > kLargest / g.groups || g.outputs % g.groups != 0) {
      throw wrong("attribute group", "a divisor of the outputs", std::to_string(g.groups));
    }
    g.inputs = weight[2] * g.groups;
    const size_t x_zero = kind_.method->count + 3;
    g.input_zero = info.zero_point(x_zero, "x_zero");
    if (kind_.op == Op::kLinear) return;
    const Dims kernel = info.integers("kernel_shape", 2, 1, kMostKernel);
    const Dims strides = info.integers("strides", 2, 1, kLargest);
    const Dims dilations = info.integers("dilations", 2, 1, kMostKernel);
    std::copy(kernel.begin(), kernel.end(), g.kernel);
    std::copy(strides.begin(), strides.end(), g.strides);
    std::copy(dilations.begin(), dilations.end(), g.dilations);
    if (kind_.op == Op::kConv) {
      const Dims pads = info.integers("pads", 4, 0, kMostPadding);
      std::copy(pads.begin(), pads.end(), g.pads);
      return;
    }
    const std::string padding = info.text("auto_pad");
    if (padding != "SAME_UPPER" && padding != "SAME_LOWER") {
      throw wrong("attribute auto_pad", "SAME_UPPER or SAME_LOWER", padding);
    }
    lower_ = padding == "SAME_LOWER";
  }

  // y = sum * (unit * weight_scale * x_scale / y_scale) + bias / y_scale; with a summand the
  // same with m_scale in y_scale's place, rounded, * m_scale / y_scale + r * r_scale / y_scale;
  // with a table the same with m_scale in y_scale's place, looked up
  void read_output(const KernelInfo &info, const std::vector<float> &scale) {
    size_t at = kind_.method->count + 1;
    const Tensor bias = info.constant(at++, "bias", Type::kFloat, {geometry_.outputs});
    const float x_scale = info.scale(at++, "x_scale");
    ++at;  // x_zero
    float y_scale = 1;
    output_.type = SUBBYTE_FLOAT;
    if (kind_.form != Form::kDequant) {
      output_.type = SUBBYTE_UINT8;
      output_.high = 255;
      y_scale = info.scale(at++, "y_scale");
      output_.zero = info.zero_point(at++, "y_zero");
    }
    if (kind_.form == Form::kAdd) {
      summand_ = at++;
      output_.residual_scale = info.scale(at++, "r_scale") / y_scale;
      output_.residual_zero = info.zero_point(at++, "r_zero");
      const float m_scale = info.scale(at++, "m_scale");
      output_.inner_scale = m_scale / y_scale;
      output_.inner_zero = info.zero_point(at++, "m_zero");
      y_scale = m_scale;
    }
    if (kind_.form == Form::kUnary) {
      y_scale = info.scale(at++, "m_scale");
      output_.zero = info.zero_point(at++, "m_zero");
      output_.table = info.constant(at++, "table", Type::kUint8, {kCodes}).as<uint8_t>();
    }
    for (size_t o = 0; o < scale.size(); ++o) {
      scale_.push_back(weights_->unit() * scale[o] * x_scale / y_scale);
      bias_.push_back(bias.as<float>()[o] / y_scale);
      if (!std::isfinite(scale_.back()) || !std::isfinite(bias_.back())) {
        throw wrong("scale and bias of an output", "finite numbers", "others");
      }
    }
    output_.scale = scale_.data();
    output_.bias = bias_.data();
  }

  Dims place_linear(const Tensor &x, Geometry *g) const {
    if (x.dims.empty() || x.dims.back() != g->inputs) {
      throw wrong("x", "[..., " + std::to_string(g->inputs) + "]",
                     shape_text(x.dims.data(), x.dims.size()));
    }
    Dims dims = x.dims;
    dims.back() = g->outputs;
    g->height = x.count() / g->inputs;
    return dims;
  }

  Dims place_conv(const Tensor &x, Geometry *g) const {
    if (x.dims.size() != 4 || x.dims[3] != g->inputs || x.dims[1] < 1 || x.dims[2] < 1) {
      throw wrong("x", "[N, H, W, " + std::to_string(g->inputs) + "]",
                     shape_text(x.dims.data(), x.dims.size()));
    }
    g->images = std::max<int64_t>(x.dims[0], 1);
    g->height = x.dims[1];
    g->width = x.dims[2];
    if (kind_.op == Op::kConvSame) pad_same(g);
    Dims dims = {x.dims[0], 0, 0, g->outputs};
    weights_->out_size(*g, &dims[1], &dims[2]);
    return dims;
  }

  void pad_same(Geometry *g) const {
    const int64_t size[2] = {g->height, g->width};
    for (int axis = 0; axis < 2; ++axis) {
      const int64_t out = (size[axis] - 1) / g->strides[axis] + 1;
      const int64_t all =
          std::max<int64_t>((out - 1) * g->strides[axis] + span(*g, axis) - size[axis], 0);
      g->pads[axis] = lower_ ? all - all / 2 : all / 2;
      g->pads[axis + 2] = all - g->pads[axis];
    }
  }

  Kind kind_;
  Geometry geometry_;
  bool lower_ = false;
  std::unique_ptr<Weights> weights_;
  subbyte_output output_ = {};
  std::vector<float> scale_, bias_;
  size_t summand_ = 0;
  Parallel parallel_;
};

// [N, H, W, C] -> [N, H', W', O]; O is the length of the bias.
bool infer_conv(const ShapeContext &context, size_t bias, bool same, InferredShape *shape) {
  InferredShape x, b;
  Dims kernel, strides, dilations, pads = {0, 0, 0, 0};
  if (!context.input(0, &x) || !context.input(bias, &b) || x.dims.size() != 4 ||
      b.dims.size() != 1 || !context.integers("kernel_shape", 2, 1, kMostKernel, &kernel) ||
      !context.integers("strides", 2, 1, kLargest, &strides) ||
      !context.integers("dilations", 2, 1, kMostKernel, &dilations) ||
      (!same && !context.integers("pads", 4, 0, kMostPadding, &pads))) {
    return false;
  }
  *shape = x;
  for (size_t axis = 0; axis < 2; ++axis) {
    const int64_t in = x.dims[axis + 1];
    int64_t out = -1;
    if (in > 0 && in <= kLargest) {
      const int64_t reach = (kernel[axis] - 1) * dilations[axis] + 1;
      const int64_t room = same ? in - 1 : in + pads[axis] + pads[axis + 2] - reach;
      out = room < 0 ? -1 : room / strides[axis] + 1;
    }
    shape->dims[axis + 1] = out;
    shape->symbols[axis + 1].clear();
  }
  shape->dims[3] = b.dims[0];
  shape->symbols[3].clear();
  return true;
}

bool infer_linear(const ShapeContext &context, size_t bias, InferredShape *shape) {
  InferredShape b;
  if (!context.input(0, shape) || !context.input(bias, &b) || shape->dims.empty() ||
      b.dims.size() != 1) {
    return false;
  }
  shape->dims.back() = b.dims[0];
  shape->symbols.back().clear();
  return true;
}

Operator layer_operator(const std::string &name, const Kind &kind) {
  Operator made;
  made.name = name;
  made.inputs = {Type::kUint8};
  const size_t packed = kind.method->count;
  for (size_t i = 0; i < packed; ++i) made.inputs.push_back(kind.method->types[i]);
  const auto add = [&](std::initializer_list<Type> types) {
    made.inputs.insert(made.inputs.end(), types);
  };
  add({Type::kFloat, Type::kFloat, Type::kUint8});                 // bias, x_scale, x_zero
  if (kind.form != Form::kDequant) add({Type::kFloat, Type::kUint8});  // y_scale, y_zero
  if (kind.form == Form::kAdd) {  // r, r_scale, r_zero, m_scale, m_zero
    add({Type::kUint8, Type::kFloat, Type::kUint8, Type::kFloat, Type::kUint8});
  }
  if (kind.form == Form::kUnary) {  // m_scale, m_zero, table
    add({Type::kFloat, Type::kUint8, Type::kUint8});
  }
  made.output = kind.form == Form::kDequant ? Type::kFloat : Type::kUint8;
  made.make = [kind](const KernelInfo &info) { return std::make_unique<Layer>(info, kind); };
  made.infer = [kind, packed](const ShapeContext &context, InferredShape *shape) {
    if (kind.op == Op::kLinear) return infer_linear(context, packed + 1, shape);
    return infer_conv(context, packed + 1, kind.op == Op::kConvSame, shape);
  };
  return made;
}

// The operators of a method: <name><Op><Form>.
void add_forms(const std::string &name, const Method &method, const Binarization &x,
               std::vector<Operator> *operators) {
  static constexpr struct {
    const char *name;
    Op op;
    Form form;
  } kForms[] = {{"Conv", Op::kConv, Form::kPlain},
                {"ConvAdd", Op::kConv, Form::kAdd},
                {"ConvDequant", Op::kConv, Form::kDequant},
                {"ConvSame", Op::kConvSame, Form::kPlain},
                {"ConvSameAdd", Op::kConvSame, Form::kAdd},
                {"Linear", Op::kLinear, Form::kPlain},
                {"LinearDequant", Op::kLinear, Form::kDequant}};
  for (const auto &form : kForms) {
    // Binary inputs have no form padded by rule; of the others, a convolution that gives
    // floats is a linear layer on pixels (docs/format.md).
    const bool floats = form.op == Op::kConv && form.form == Form::kDequant;
    if (method.binarizes ? form.op == Op::kConvSame : floats) continue;
    Kind kind = {&method, x, form.op, form.form};
    // A row of a linear layer is one vector.
    if (form.op == Op::kLinear) kind.x.scales = SUBBYTE_PER_COLUMN;
    operators->push_back(layer_operator(name + form.name, kind));
    if (form.form != Form::kPlain || method.binarizes) continue;
    kind.form = Form::kUnary;
    for (int number = 0; number < kMostFunctions; ++number) {
      const std::string function = "Unary" + std::to_string(number);
      operators->push_back(layer_operator(name + form.name + function, kind));
    }
  }
}

}  // namespace

void add_layers(std::vector<Operator> *operators) {
  static constexpr const char *kScales[] = {"Column", "Pixel", "Image"};  // as SUBBYTE_PER_...
  for (const Method *method : kMethods) {
    if (!method->binarizes) {
      add_forms(method->name, *method, {}, operators);
      continue;
    }
    for (int32_t scales = 0; scales < 3; ++scales) {
      for (int32_t order = 1; order <= kMostOrder; ++order) {
        const std::string name = method->name + std::string(kScales[scales]);
        add_forms(name + std::to_string(order), *method, {order, scales}, operators);
      }
    }
  }
}

}  // namespace subbyte::ort
