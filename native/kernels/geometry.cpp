#include "geometry.h"

#include "error.h"

namespace subbyte {

int check_field(const Field &field) {
  if (field.value >= field.low && field.value <= field.high) return SUBBYTE_OK;
  return fail(SUBBYTE_BAD_SHAPE, "%s: expected %lld to %lld, got %lld", field.name,
              static_cast<long long>(field.low), static_cast<long long>(field.high),
              static_cast<long long>(field.value));
}

int check_geometry(const subbyte_geometry &g) {
  const Field fields[] = {
      {"images", g.images, 1, kLargest},
      {"height", g.height, 1, kLargest},
      {"width", g.width, 1, kLargest},
      {"inputs", g.inputs, 1, kLargest},
      {"outputs", g.outputs, 1, kLargest},
      {"groups", g.groups, 1, kLargest},
      {"kernel height", g.kernel[0], 1, 1 << 15},
      {"kernel width", g.kernel[1], 1, 1 << 15},
      {"vertical stride", g.strides[0], 1, kLargest},
      {"horizontal stride", g.strides[1], 1, kLargest},
      {"vertical dilation", g.dilations[0], 1, 1 << 15},
      {"horizontal dilation", g.dilations[1], 1, 1 << 15},
      {"top padding", g.pads[0], 0, kLargest},
      {"left padding", g.pads[1], 0, kLargest},
      {"bottom padding", g.pads[2], 0, kLargest},
      {"right padding", g.pads[3], 0, kLargest},
  };
  for (const Field &field : fields) {
    const int status = check_field(field);
    if (status != SUBBYTE_OK) return status;
  }
  if (g.inputs % g.groups != 0 || g.outputs % g.groups != 0) {
    return fail(SUBBYTE_BAD_SHAPE,
                "groups: expected a divisor of %lld inputs and %lld outputs, got %lld",
                static_cast<long long>(g.inputs), static_cast<long long>(g.outputs),
                static_cast<long long>(g.groups));
  }
  return SUBBYTE_OK;
}

int make_walk(const subbyte_geometry &g, Walk *w) {
  const int64_t span[2] = {(g.kernel[0] - 1) * g.dilations[0] + 1,
                           (g.kernel[1] - 1) * g.dilations[1] + 1};
  const int64_t height = g.height + g.pads[0] + g.pads[2];
  const int64_t width = g.width + g.pads[1] + g.pads[3];
  if (span[0] > height || span[1] > width) {
    return fail(SUBBYTE_BAD_SHAPE,
                "kernel: expected a span of at most %lld x %lld, the padded input, got %lld x %lld",
                static_cast<long long>(height), static_cast<long long>(width),
                static_cast<long long>(span[0]), static_cast<long long>(span[1]));
  }
  w->out_height = (height - span[0]) / g.strides[0] + 1;
  w->out_width = (width - span[1]) / g.strides[1] + 1;
  if (!fits(g.images, g.height, g.width) || !fits(g.images * g.height * g.width, g.inputs) ||
      !fits(g.images, w->out_height, w->out_width) ||
      !fits(g.images * w->out_height * w->out_width, 4 * g.outputs)) {
    return too_large("x or y");
  }
  const bool skip_rows = span[0] == 1 && g.pads[0] == 0 && g.pads[2] == 0;
  const bool skip_columns = span[1] == 1 && g.pads[1] == 0 && g.pads[3] == 0;
  w->row_step = skip_rows ? g.strides[0] : 1;
  w->column_step = skip_columns ? g.strides[1] : 1;
  w->stride[0] = skip_rows ? 1 : g.strides[0];
  w->stride[1] = skip_columns ? 1 : g.strides[1];
  w->rows = skip_rows ? w->out_height : g.height;
  w->columns = skip_columns ? w->out_width : g.width;
  w->reach = span[0];
  w->padded_columns = w->columns + g.pads[1] + g.pads[3];
  return SUBBYTE_OK;
}

int too_large(const char *what) { return fail(SUBBYTE_BAD_SHAPE, "%s: too large", what); }

size_t aligned(int64_t bytes) {
  return static_cast<size_t>(ceil_div(bytes, SUBBYTE_ALIGNMENT) * SUBBYTE_ALIGNMENT);
}

bool fits(int64_t a, int64_t b, int64_t c) {
  return a <= kMostBytes / b && a * b <= kMostBytes / c;
}

}  // namespace subbyte
