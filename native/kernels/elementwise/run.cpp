#include "elementwise/run.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <utility>

#include "checks.h"
#include "error.h"
#include "geometry.h"

namespace subbyte::elementwise {
namespace {

constexpr int64_t kMostPixels = int64_t{1} << 23;  // of a window: its sum stays within int32

int check_quantized(const char *name, const subbyte_quantized &q) {
  if (!(q.scale > 0) || !std::isfinite(q.scale)) {
    return fail(SUBBYTE_BAD_DATA, "%s scale: expected a positive number, got %g", name,
                static_cast<double>(q.scale));
  }
  if (q.zero < 0 || q.zero > 255) {
    return fail(SUBBYTE_BAD_SHAPE, "%s zero: expected 0 to 255, got %d", name, q.zero);
  }
  return SUBBYTE_OK;
}

// Times 0, an infinite factor would be no number.
int check_factor(float factor) {
  if (std::isfinite(factor)) return SUBBYTE_OK;
  return fail(SUBBYTE_BAD_DATA, "scales: expected finite ratios, got %g",
              static_cast<double>(factor));
}

int check_pool(const subbyte_pool &p) {
  const subbyte_geometry geometry = {p.images,
                                     p.height,
                                     p.width,
                                     p.channels,
                                     p.channels,
                                     1,
                                     {1, 1},
                                     {p.strides[0], p.strides[1]},
                                     {p.dilations[0], p.dilations[1]},
                                     {p.pads[0], p.pads[1], p.pads[2], p.pads[3]}};
  int status = check_geometry(geometry);
  for (const int64_t size : p.kernel) {
    // A global pool is as large as x.
    if (status == SUBBYTE_OK) status = check_field({"kernel", size, 1, kLargest});
  }
  if (status == SUBBYTE_OK) status = check_field({"operation", p.operation, 0, 1});
  if (status == SUBBYTE_OK) status = check_field({"out_height", p.out_height, 1, kLargest});
  if (status == SUBBYTE_OK) status = check_field({"out_width", p.out_width, 1, kLargest});
  if (status != SUBBYTE_OK) return status;
  const int64_t size[2] = {p.height, p.width}, out[2] = {p.out_height, p.out_width};
  for (int axis = 0; axis < 2; ++axis) {
    // Every window reaches into x (a dilated one may still step over all of it: then the
    // maximum is 0, the least code).
    const int64_t last = (out[axis] - 1) * p.strides[axis] - p.pads[axis];
    const int64_t reach = (p.kernel[axis] - 1) * p.dilations[axis];
    if (last >= size[axis] || reach < p.pads[axis]) {
      return fail(SUBBYTE_BAD_SHAPE, "pool: expected windows that hold pixels of x");
    }
  }
  if (!fits(p.images, p.height, p.width) || !fits(p.images * p.height * p.width, p.channels) ||
      !fits(p.images, p.out_height, p.out_width) ||
      !fits(p.images * p.out_height * p.out_width, p.channels)) {
    return too_large("x or y");
  }
  if (p.operation == SUBBYTE_MAX_POOL) return SUBBYTE_OK;
  if (p.kernel[0] > kMostPixels / p.kernel[1]) return too_large("window");
  status = check_quantized("x", p.x);
  if (status == SUBBYTE_OK) status = check_quantized("y", p.y);
  return status == SUBBYTE_OK ? check_factor(p.x.scale / p.y.scale) : status;
}

// Taps first <= tap < last of one axis lie in x; the first at `at`.
struct Taps {
  int64_t at, count;    // in x
  int64_t padded;       // in x or its padding
};

Taps taps_of(const subbyte_pool &p, int axis, int64_t out) {
  const int64_t size = axis == 0 ? p.height : p.width;
  const int64_t step = p.dilations[axis], begin = out * p.strides[axis] - p.pads[axis];
  if (begin >= 0 && begin + (p.kernel[axis] - 1) * step < size) {
    return {begin, p.kernel[axis], p.kernel[axis]};  // most windows, without divisions
  }
  const int64_t first = begin < 0 ? ceil_div(-begin, step) : 0;
  const int64_t end = std::min(p.kernel[axis], begin < size ? ceil_div(size - begin, step) : 0);
  const int64_t padded_end =
      std::min(p.kernel[axis], ceil_div(size + p.pads[axis + 2] - begin, step));
  if (end <= first) return {0, 0, padded_end};
  return {begin + first * step, end - first, padded_end};
}

// How many windows from `column` on lie within x from left to right; 1 if it does not itself.
int64_t alike(const subbyte_pool &p, int64_t column) {
  const int64_t begin = column * p.strides[1] - p.pads[1];
  const int64_t room = p.width - 1 - (p.kernel[1] - 1) * p.dilations[1] - begin;
  if (begin < 0 || room < 0) return 1;
  return std::min(room / p.strides[1] + 1, p.out_width - column);
}

// How many of the channels left go together: a number the stages are compiled for, if any.
int chunk_of(int64_t left) {
  for (const int chunk : {kChunk, kChunk / 2, kChunk / 4}) {
    if (left >= chunk) return chunk;
  }
  return static_cast<int>(left);
}

// `count` windows side by side, all of this shape; the first has these taps.
void pool_windows(const Level &level, const subbyte_pool &p, const uint8_t *image,
                  const Taps &rows, const Taps &columns, int64_t count, uint8_t *y) {
  Window window = {};
  window.count = count;
  window.x_step = static_cast<ptrdiff_t>(p.strides[1] * p.channels);
  window.y_step = static_cast<ptrdiff_t>(p.channels);
  window.row_stride = static_cast<ptrdiff_t>(p.dilations[0] * p.width * p.channels);
  window.column_stride = static_cast<ptrdiff_t>(p.dilations[1] * p.channels);
  window.rows = rows.count;
  window.columns = columns.count;
  const bool average = p.operation == SUBBYTE_AVERAGE_POOL;
  if (average) {
    const int64_t pixels = p.count_padding ? rows.padded * columns.padded
                                           : rows.count * columns.count;
    window.x_zero = p.x.zero;
    window.y_zero = p.y.zero;
    window.factor = p.x.scale / p.y.scale / static_cast<float>(std::max<int64_t>(pixels, 1));
  }
  const uint8_t *x = image + (rows.at * p.width + columns.at) * p.channels;
  for (int64_t channel = 0; channel < p.channels; channel += window.channels) {
    window.x = x + channel;
    window.y = y + channel;
    window.channels = chunk_of(p.channels - channel);
    (average ? level.average : level.max)(window);
  }
}

}  // namespace

int count_rows(const subbyte_pairwise *job, int64_t *rows) {
  if (job == nullptr) return fail(SUBBYTE_BAD_BUFFER, "job: expected a pointer, got null");
  int status = check_field({"operation", job->operation, 0, 1});
  if (status == SUBBYTE_OK) status = check_field({"rank", job->rank, 1, SUBBYTE_MAX_RANK});
  if (status == SUBBYTE_OK) status = check_quantized("x", job->x);
  if (status == SUBBYTE_OK) status = check_quantized("r", job->r);
  if (status == SUBBYTE_OK) status = check_quantized("y", job->y);
  if (status == SUBBYTE_OK) status = check_factor(job->x.scale / job->y.scale);
  if (status == SUBBYTE_OK) status = check_factor(job->r.scale / job->y.scale);
  if (status == SUBBYTE_OK) status = check_factor(job->x.scale * job->r.scale / job->y.scale);
  if (status != SUBBYTE_OK) return status;
  int64_t total = 1;
  for (int axis = 0; axis < job->rank; ++axis) {
    const int64_t size = job->shape[axis];
    status = check_field({"shape", size, 1, kMostBytes});
    for (const int64_t stride : {job->x_strides[axis], job->r_strides[axis]}) {
      if (status == SUBBYTE_OK) status = check_field({"stride", stride, 0, kMostBytes});
      if (status == SUBBYTE_OK && !fits(size, std::max<int64_t>(stride, 1))) {
        status = too_large("x or r");
      }
    }
    if (status == SUBBYTE_OK && !fits(total, size)) status = too_large("y");
    if (status != SUBBYTE_OK) return status;
    total *= size;
  }
  *rows = total / job->shape[job->rank - 1];
  return SUBBYTE_OK;
}

int run_pairwise(const Level &level, const subbyte_pairwise &asked, const uint8_t *x,
                 const uint8_t *r, uint8_t *y, int64_t begin, int64_t end) {
  int64_t rows = 0;
  int status = count_rows(&asked, &rows);
  if (status == SUBBYTE_OK) status = check_rows(begin, end, rows);
  if (status != SUBBYTE_OK) return status;
  subbyte_pairwise job = asked;
  if (job.x_strides[job.rank - 1] == 0) {
    // Both operations commute, and the stages are fast where it is r that repeats.
    std::swap(job.x, job.r);
    std::swap(job.x_strides, job.r_strides);
    std::swap(x, r);
  }
  const int last = job.rank - 1;
  const bool mul = job.operation == SUBBYTE_MUL;
  Rows row = {};
  row.x_step = job.x_strides[last];
  row.r_step = job.r_strides[last];
  row.count = job.shape[last];
  row.x_zero = job.x.zero;
  row.r_zero = job.r.zero;
  row.y_zero = job.y.zero;
  row.x_factor = mul ? job.x.scale * job.r.scale / job.y.scale : job.x.scale / job.y.scale;
  row.r_factor = job.r.scale / job.y.scale;
  row.x_row = last > 0 ? job.x_strides[last - 1] : 0;
  row.r_row = last > 0 ? job.r_strides[last - 1] : 0;
  for (int64_t index = begin; index < end; index += row.rows) {
    // All rows up to the end of the last axis but one lie at the same distances.
    const int64_t more = last > 0 ? job.shape[last - 1] : 1;
    row.rows = std::min(more - index % more, end - index);
    int64_t rest = index, x_at = 0, r_at = 0;
    for (int axis = last; axis-- > 0;) {
      const int64_t at = rest % job.shape[axis];
      rest /= job.shape[axis];
      x_at += at * job.x_strides[axis];
      r_at += at * job.r_strides[axis];
    }
    row.x = x + x_at;
    row.r = r + r_at;
    row.y = y + index * row.count;
    (mul ? level.mul : level.add)(row);
  }
  return SUBBYTE_OK;
}

int run_requantize(const subbyte_requantize &job, const uint8_t *x, uint8_t *y) {
  int status = check_quantized("x", job.x);
  if (status == SUBBYTE_OK) status = check_quantized("y", job.y);
  for (const Field &field : {Field{"rows", job.rows, 0, kMostBytes},
                             Field{"length", job.length, 0, kMostBytes},
                             Field{"x stride", job.x_stride, 0, kMostBytes},
                             Field{"y stride", job.y_stride, 0, kMostBytes}}) {
    if (status == SUBBYTE_OK) status = check_field(field);
  }
  if (status == SUBBYTE_OK) status = check_factor(job.x.scale / job.y.scale);
  for (const int64_t stride : {job.x_stride, job.y_stride}) {
    if (status == SUBBYTE_OK && job.rows > 0 && !fits(job.rows, std::max<int64_t>(stride, 1))) {
      status = too_large("x or y");
    }
  }
  if (status != SUBBYTE_OK) return status;
  if (job.x.scale == job.y.scale && job.x.zero == job.y.zero) {
    for (int64_t row = 0; row < job.rows; ++row) {
      std::memcpy(y + row * job.y_stride, x + row * job.x_stride,
                  static_cast<size_t>(job.length));
    }
    return SUBBYTE_OK;
  }
  uint8_t table[256];
  const float factor = job.x.scale / job.y.scale;
  for (int code = 0; code < 256; ++code) {
    const float value = std::nearbyint(static_cast<float>(code - job.x.zero) * factor);
    const float low = static_cast<float>(-job.y.zero), high = static_cast<float>(255 - job.y.zero);
    table[code] = static_cast<uint8_t>(
        static_cast<int>(std::min(std::max(value, low), high)) + job.y.zero);
  }
  for (int64_t row = 0; row < job.rows; ++row) {
    const uint8_t *from = x + row * job.x_stride;
    uint8_t *to = y + row * job.y_stride;
    for (int64_t i = 0; i < job.length; ++i) to[i] = table[from[i]];
  }
  return SUBBYTE_OK;
}

int run_map(const Level &level, const uint8_t *table, const uint8_t *x, uint8_t *y, int64_t begin,
            int64_t end) {
  const int status = check_rows(begin, end, kMostBytes);
  if (status != SUBBYTE_OK) return status;
  level.map(table, x + begin, end - begin, y + begin);
  return SUBBYTE_OK;
}

int run_shuffle(const Level &level, const subbyte_shuffle &job, const uint8_t *x, uint8_t *y,
                int64_t begin, int64_t end) {
  int status = check_field({"channels", job.channels, 1, kLargest});
  if (status == SUBBYTE_OK) status = check_field({"groups", job.groups, 1, job.channels});
  if (status == SUBBYTE_OK && job.channels % job.groups != 0) {
    status = fail(SUBBYTE_BAD_SHAPE, "groups: expected a divisor of %lld channels, got %lld",
                  static_cast<long long>(job.channels), static_cast<long long>(job.groups));
  }
  if (status == SUBBYTE_OK) status = check_rows(begin, end, kMostBytes / job.channels);
  if (status != SUBBYTE_OK) return status;
  level.shuffle({x + begin * job.channels, end - begin, job.groups, job.channels / job.groups,
                 y + begin * job.channels});
  return SUBBYTE_OK;
}

int run_pool(const Level &level, const subbyte_pool &job, const uint8_t *x, uint8_t *y,
             int64_t begin, int64_t end) {
  int status = check_pool(job);
  if (status == SUBBYTE_OK) status = check_rows(begin, end, job.images * job.out_height);
  if (status != SUBBYTE_OK) return status;
  for (int64_t row = begin; row < end; ++row) {
    const uint8_t *image = x + row / job.out_height * job.height * job.width * job.channels;
    const Taps rows = taps_of(job, 0, row % job.out_height);
    for (int64_t column = 0; column < job.out_width;) {
      const int64_t count = alike(job, column);
      pool_windows(level, job, image, rows, taps_of(job, 1, column), count,
                   y + (row * job.out_width + column) * job.channels);
      column += count;
    }
  }
  return SUBBYTE_OK;
}

}  // namespace subbyte::elementwise
