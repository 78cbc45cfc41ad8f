"""The model-local functions of the nodes that the layers of `subbyte.nn` are exported to.

Nodes, in domain ``subbyte``:

- ``ResidualBinaryConv``: X [N, C, H, W], W [O, C / group, kh, kw] (latent), optional B [O];
  attributes ``kernel_shape``, ``strides``, ``pads``, ``dilations``, ``group``, ``order``,
  ``scales`` ("column", "pixel" or "image").
- ``ResidualBinaryLinear``: X [..., I], W [O, I] (latent), optional B [O]; attribute ``order``.

The functions compute the same as the layers, in float32, so that the exported model runs in any
runtime. Patches come from a convolution with one-hot kernels; the last product is a Conv (a Gemm),
which takes an absent bias as it is.
"""

from __future__ import annotations

import onnx
import onnx.parser

from subbyte.graph.functions.body import DOMAIN, DOMAIN_VERSION

# Values r are [N, group, channels, taps, positions]; the scales are means of base: the
# patches themselves or, per image, [N, group, channels, height * width, 1].
_CONV = """
<domain: "subbyte", opset_import: ["": OPSET]>
ResidualBinaryConv <kernel_shape, strides, pads, dilations, group, order, scales> (X, W, B) => (Y)
{
  zero = Constant <value_float = 0.0> ()
  one = Constant <value_float = 1.0> ()
  minus = Constant <value_float = -1.0> ()
  single = Constant <value_ints = [1]> ()
  rest = Constant <value_ints = [-1]> ()
  spatial = Constant <value_ints = [2, 3]> ()
  tap_axis = Constant <value_ints = [3]> ()
  channel_axis = Constant <value_ints = [2]> ()
  steps = Constant <value_int: int = @order> ()
  true = Constant <value = bool {1}> ()
  kernel = Constant <value_ints: ints = @kernel_shape> ()
  pad = Constant <value_ints: ints = @pads> ()
  group_value = Constant <value_int: int = @group> ()
  groups = Reshape (group_value, single)
  taps = ReduceProd <keepdims = 1> (kernel)
  mode = Constant <value_string: string = @scales> ()
  image_mode = Constant <value_string = "image"> ()
  pixel_mode = Constant <value_string = "pixel"> ()
  per_image = Equal (mode, image_mode)
  per_pixel = Equal (mode, pixel_mode)

  images = Shape <start = 0, end = 1> (X)
  channels = Shape <start = 1, end = 2> (W)
  padded = Pad (X, pad, zero, spatial)
  size = Shape <start = 2> (padded)
  plane_shape = Concat <axis = 0> (rest, single, size)
  planes = Reshape (padded, plane_shape)
  square = Concat <axis = 0> (taps, taps)
  zeros = ConstantOfShape (square)
  diagonal = EyeLike (zeros)
  one_hot_shape = Concat <axis = 0> (taps, single, kernel)
  one_hot = Reshape (diagonal, one_hot_shape)
  moved = Conv <strides: ints = @strides, dilations: ints = @dilations> (planes, one_hot)
  out_size = Shape <start = 2> (moved)
  patch_shape = Concat <axis = 0> (images, groups, channels, taps, rest)
  patches = Reshape (moved, patch_shape)
  base = If (per_image) <
    then_branch = whole () => (float[] whole_base) {
      whole_shape = Concat <axis = 0> (images, groups, channels, rest, single)
      whole_base = Reshape (X, whole_shape)
    },
    else_branch = own () => (float[] own_base) { own_base = Identity (patches) }
  >
  axes = If (per_pixel) <
    then_branch = pixel () => (int64[] pixel_axes) { pixel_axes = Identity (channel_axis) },
    else_branch = vector () => (int64[] vector_axes) {
      vector_axes = Concat <axis = 0> (channel_axis, tap_axis)
    }
  >
  nothing = Mul (patches, zero)
  last_base, last_r, sum = Loop (steps, true, base, patches, nothing) <
    body = order_k (int64 k, bool go, float[] base_in, float[] r_in, float[] sum_in)
        => (bool go_out, float[] base_out, float[] r_out, float[] sum_out) {
      go_out = Identity (go)
      magnitude = Abs (base_in)
      beta = ReduceMean <keepdims = 1> (magnitude, axes)
      minus_beta = Neg (beta)
      base_positive = GreaterOrEqual (base_in, zero)
      base_term = Where (base_positive, beta, minus_beta)
      base_out = Sub (base_in, base_term)
      r_positive = GreaterOrEqual (r_in, zero)
      r_term = Where (r_positive, beta, minus_beta)
      r_out = Sub (r_in, r_term)
      scale = ReduceMean <keepdims = 1> (beta, tap_axis)
      minus_scale = Neg (scale)
      term = Where (r_positive, scale, minus_scale)
      sum_out = Add (sum_in, term)
    }
  >

  filter_axes = Constant <value_ints = [1, 2, 3]> ()
  filter_magnitude = Abs (W)
  alpha = ReduceMean <keepdims = 1> (filter_magnitude, filter_axes)
  filter_positive = GreaterOrEqual (W, zero)
  signs = Where (filter_positive, one, minus)
  filters = Mul (signs, alpha)
  outputs = Shape <start = 0, end = 1> (W)
  matrix_shape = Concat <axis = 0> (outputs, rest, single, single)
  matrix = Reshape (filters, matrix_shape)
  column_shape = Concat <axis = 0> (images, rest, out_size)
  columns = Reshape (sum, column_shape)
  Y = Conv <group: int = @group> (columns, matrix, B)
}
"""

_LINEAR = """
<domain: "subbyte", opset_import: ["": OPSET]>
ResidualBinaryLinear <order> (X, W, B) => (Y)
{
  zero = Constant <value_float = 0.0> ()
  one = Constant <value_float = 1.0> ()
  minus = Constant <value_float = -1.0> ()
  rest = Constant <value_ints = [-1]> ()
  row_axis = Constant <value_ints = [1]> ()
  steps = Constant <value_int: int = @order> ()
  true = Constant <value = bool {1}> ()
  inputs = Shape <start = 1> (W)
  row_shape = Concat <axis = 0> (rest, inputs)
  rows = Reshape (X, row_shape)
  last_r = Loop (steps, true, rows) <
    body = order_k (int64 k, bool go, float[] r_in) => (bool go_out, float[] r_out) {
      go_out = Identity (go)
      magnitude = Abs (r_in)
      beta = ReduceMean <keepdims = 1> (magnitude, row_axis)
      minus_beta = Neg (beta)
      positive = GreaterOrEqual (r_in, zero)
      term = Where (positive, beta, minus_beta)
      r_out = Sub (r_in, term)
    }
  >
  approximation = Sub (rows, last_r)
  magnitudes = Abs (W)
  alpha = ReduceMean <keepdims = 1> (magnitudes, row_axis)
  weight_positive = GreaterOrEqual (W, zero)
  signs = Where (weight_positive, one, minus)
  matrix = Mul (signs, alpha)
  products = Gemm <transB = 1> (approximation, matrix, B)
  outer = Shape <start = 0, end = -1> (X)
  outputs = Shape <start = 0, end = 1> (W)
  shape = Concat <axis = 0> (outer, outputs)
  Y = Reshape (products, shape)
}
"""

FUNCTIONS = {"ResidualBinaryConv": _CONV, "ResidualBinaryLinear": _LINEAR}
"""Function name -> text, with OPSET for the operator set of the model."""


def add_residual_binary_functions(model: onnx.ModelProto) -> None:
    """Give ``model`` (operator set 19 or later) the functions of its residual binary nodes."""
    used = {node.op_type for node in model.graph.node if node.domain == DOMAIN}
    if not used & FUNCTIONS.keys():
        return
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    for name, text in FUNCTIONS.items():
        if name in used:
            function = onnx.parser.parse_function(text.replace("OPSET", str(opset)))
            model.functions.append(function)
    for entry in list(model.opset_import):
        if entry.domain == DOMAIN:
            model.opset_import.remove(entry)
    model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, DOMAIN_VERSION))
