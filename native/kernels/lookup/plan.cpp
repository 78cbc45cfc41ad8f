#include "lookup/plan.h"

#include <algorithm>
#include <cstring>

#include "error.h"

namespace subbyte::lookup {
namespace {

// Half of a common L2 cache: the other half is for the codes.
constexpr int64_t kBandBytes = 256 << 10;
// No buffer is larger: sizes up to here cannot overflow when added up.
constexpr int64_t kMostBytes = int64_t{1} << 46;
constexpr int64_t kLargest = int64_t{1} << 30;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

size_t aligned(int64_t bytes) {
  return static_cast<size_t>(ceil_div(bytes, SUBBYTE_ALIGNMENT) * SUBBYTE_ALIGNMENT);
}

struct Field {
  const char *name;
  int64_t value, low, high;
};

int check_fields(const subbyte_lookup &l) {
  const Field fields[] = {
      {"images", l.images, 1, kLargest},
      {"height", l.height, 1, kLargest},
      {"width", l.width, 1, kLargest},
      {"inputs", l.inputs, 1, kLargest},
      {"outputs", l.outputs, 1, kLargest},
      {"groups", l.groups, 1, kLargest},
      {"kernel height", l.kernel[0], 1, 1 << 15},
      {"kernel width", l.kernel[1], 1, 1 << 15},
      {"vertical stride", l.strides[0], 1, kLargest},
      {"horizontal stride", l.strides[1], 1, kLargest},
      {"vertical dilation", l.dilations[0], 1, 1 << 15},
      {"horizontal dilation", l.dilations[1], 1, 1 << 15},
      {"top padding", l.pads[0], 0, kLargest},
      {"left padding", l.pads[1], 0, kLargest},
      {"bottom padding", l.pads[2], 0, kLargest},
      {"right padding", l.pads[3], 0, kLargest},
      {"word_length", l.word_length, 1, 16},
      {"shared", l.shared, 0, 1},
      {"gain_levels", l.gain_levels, 0, 256},
      {"input_zero", l.input_zero, 0, 255},
      {"shift", l.shift, 0, 8},
  };
  for (const Field &field : fields) {
    if (field.value < field.low || field.value > field.high) {
      return fail(SUBBYTE_BAD_SHAPE, "%s: expected %lld to %lld, got %lld", field.name,
                  static_cast<long long>(field.low), static_cast<long long>(field.high),
                  static_cast<long long>(field.value));
    }
  }
  if (l.inputs % l.groups != 0 || l.outputs % l.groups != 0) {
    return fail(SUBBYTE_BAD_SHAPE,
                "groups: expected a divisor of %lld inputs and %lld outputs, got %lld",
                static_cast<long long>(l.inputs), static_cast<long long>(l.outputs),
                static_cast<long long>(l.groups));
  }
  return SUBBYTE_OK;
}

// a * b * c within kMostBytes. Factors are positive.
bool fits(int64_t a, int64_t b, int64_t c = 1) {
  return a <= kMostBytes / b && a * b <= kMostBytes / c;
}

int too_large(const char *what) {
  return fail(SUBBYTE_BAD_SHAPE, "%s: too large", what);
}

int set_weights(const subbyte_lookup &l, Plan *p) {
  p->gain = l.gain_levels > 0;
  p->taps = l.kernel[0] * l.kernel[1];
  p->channels = l.inputs / l.groups;
  p->outputs = l.outputs / l.groups;
  p->word_length = static_cast<int>(l.word_length);
  p->chunks = static_cast<int>(ceil_div(l.word_length, p->level->chunk));
  p->words = ceil_div(p->channels, l.word_length);
  p->vectors = ceil_div(p->words, kVectorGroups);
  p->lane_blocks = ceil_div(p->outputs, kLanes);
  const int64_t padded = p->vectors * kVectorGroups;
  p->read = (padded - 1) * l.word_length + p->chunks * p->level->chunk;
  // |sum| is at most 255 * 64 a code with gain, 128 without, plus as much in its start
  // value: this keeps both, and every step between, within int32.
  if (p->taps > (1 << 16) / padded) {
    return fail(SUBBYTE_BAD_SHAPE, "kernel taps times codes: expected at most %d, got %lld * %lld",
                1 << 16, static_cast<long long>(p->taps), static_cast<long long>(padded));
  }
  if (!fits(l.groups, p->lane_blocks, p->taps * p->vectors * kVectorBytes)) {
    return too_large("weights");
  }
  p->codebook = aligned(sizeof(PackedHeader));
  p->codebook_step = static_cast<size_t>(padded * p->chunks * kWords * p->level->chunk);
  p->start = p->codebook + aligned(l.groups * static_cast<int64_t>(p->codebook_step));
  p->start_step = static_cast<size_t>(padded * kWords) * sizeof(int16_t);
  p->sums = p->start + aligned(l.groups * static_cast<int64_t>(p->start_step));
  p->sums_step = static_cast<size_t>(p->lane_blocks * kLanes) * sizeof(int32_t);
  p->codes = p->sums + aligned(l.groups * static_cast<int64_t>(p->sums_step));
  p->codes_step = static_cast<size_t>(p->lane_blocks * p->taps * p->vectors * kVectorBytes);
  const size_t all_codes = static_cast<size_t>(l.groups) * p->codes_step;
  p->gains = p->codes + (p->gain ? all_codes : 0);
  p->packed_size = p->gains + all_codes;
  return SUBBYTE_OK;
}

int set_walk(const subbyte_lookup &l, Plan *p) {
  const int64_t span[2] = {(l.kernel[0] - 1) * l.dilations[0] + 1,
                           (l.kernel[1] - 1) * l.dilations[1] + 1};
  const int64_t height = l.height + l.pads[0] + l.pads[2];
  const int64_t width = l.width + l.pads[1] + l.pads[3];
  if (span[0] > height || span[1] > width) {
    return fail(SUBBYTE_BAD_SHAPE,
                "kernel: expected a span of at most %lld x %lld, the padded input, got %lld x %lld",
                static_cast<long long>(height), static_cast<long long>(width),
                static_cast<long long>(span[0]), static_cast<long long>(span[1]));
  }
  p->out_height = (height - span[0]) / l.strides[0] + 1;
  p->out_width = (width - span[1]) / l.strides[1] + 1;
  if (!fits(l.images, l.height, l.width) || !fits(l.images * l.height * l.width, l.inputs) ||
      !fits(l.images, p->out_height, p->out_width) ||
      !fits(l.images * p->out_height * p->out_width, 4 * l.outputs)) {
    return too_large("x or y");
  }
  const bool skip_rows = span[0] == 1 && l.pads[0] == 0 && l.pads[2] == 0;
  const bool skip_columns = span[1] == 1 && l.pads[1] == 0 && l.pads[3] == 0;
  p->row_step = skip_rows ? l.strides[0] : 1;
  p->column_step = skip_columns ? l.strides[1] : 1;
  p->stride[0] = skip_rows ? 1 : l.strides[0];
  p->stride[1] = skip_columns ? 1 : l.strides[1];
  p->rows = skip_rows ? p->out_height : l.height;
  p->columns = skip_columns ? p->out_width : l.width;
  p->reach = span[0];
  p->table_columns = p->columns + l.pads[1] + l.pads[3];
  return SUBBYTE_OK;
}

int set_scratch(Plan *p) {
  p->pixel_bytes = static_cast<ptrdiff_t>(p->vectors * kVectorBytes);
  if (!fits(p->table_columns, p->pixel_bytes)) return too_large("a row of tables");
  p->row_bytes = static_cast<ptrdiff_t>(p->table_columns) * p->pixel_bytes;
  const int64_t held = kBandBytes / p->row_bytes;
  p->band = held <= p->reach ? 1 : (held - p->reach) / p->stride[0] + 1;
  p->band = std::min(p->band, p->out_height);
  const int64_t table_rows = (p->band - 1) * p->stride[0] + p->reach;
  if (!fits(table_rows, p->row_bytes)) return too_large("a band of tables");
  p->tap_offsets = 0;
  p->staging = aligned(p->taps * static_cast<int64_t>(sizeof(ptrdiff_t)));
  p->acc = p->staging + aligned(p->read);
  p->tables = p->acc + aligned(kMaxPixels * kMaxBlocks * kLanes * 4);
  p->scratch_size = p->tables + static_cast<size_t>(table_rows * p->row_bytes);
  return SUBBYTE_OK;
}

}  // namespace

int make_plan(const subbyte_lookup *layer, const Level *level, Plan *plan) {
  if (level == nullptr) return SUBBYTE_BAD_ISA;
  if (layer == nullptr) return fail(SUBBYTE_BAD_BUFFER, "layer: expected a pointer, got null");
  *plan = Plan{};
  plan->level = level;
  int status = check_fields(*layer);
  if (status == SUBBYTE_OK) status = set_weights(*layer, plan);
  if (status == SUBBYTE_OK) status = set_walk(*layer, plan);
  if (status == SUBBYTE_OK) status = set_scratch(plan);
  return status;
}

void fill_header(const subbyte_lookup &l, const Level &level, PackedHeader *header) {
  *header = PackedHeader{};
  std::strncpy(header->level, level.name, sizeof header->level - 1);
  const int64_t fields[] = {l.inputs,      l.outputs, l.groups,      l.kernel[0],
                            l.kernel[1],   l.word_length, l.shared, l.gain_levels,
                            l.input_zero,  l.shift,   int64_t{0x53554259}};
  static_assert(sizeof fields == sizeof header->fields, "the header holds these fields");
  std::memcpy(header->fields, fields, sizeof fields);
}

}  // namespace subbyte::lookup
