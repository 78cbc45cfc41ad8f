// The walk over a layer: signs and scales of a band of rows, then all its output tiles.
#include <algorithm>
#include <cstring>

#include "checks.h"
#include "conv_binary/plan.h"
#include "finish/levels.h"
#include "tiles.h"

namespace subbyte::conv_binary {
namespace {

struct Call {
  const subbyte_conv_binary &layer;
  const Plan &plan;
  const char *packed;
  const char *x;
  const subbyte_output *output;
  void *y;
  char *scratch;
  finish::Run finish;

  ptrdiff_t *step_offsets() const { return at<ptrdiff_t>(plan.steps_at); }
  ptrdiff_t *tap_offsets() const { return at<ptrdiff_t>(plan.taps_at); }
  float *betas() const { return at<float>(plan.betas); }
  float *sums() const { return at<float>(plan.sums); }
  float *values() const { return at<float>(plan.values); }
  float *held_sums() const { return at<float>(plan.held_sums); }
  float *scales() const { return at<float>(plan.scales); }
  int64_t *counts() const { return at<int64_t>(plan.counts); }
  uint8_t *held() const { return at<uint8_t>(plan.held); }
  uint8_t *signs() const { return at<uint8_t>(plan.signs); }
  bool per_image() const { return layer.scales == SUBBYTE_PER_IMAGE; }

 private:
  template <typename T>
  T *at(size_t offset) const {
    return reinterpret_cast<T *>(scratch + offset);
  }
};

Load load_job(const Call &call, const Part &part, int64_t pixel) {
  const subbyte_conv_binary &l = call.layer;
  const subbyte_geometry &g = l.geometry;
  Load job = {};
  job.bytes = l.input_type == SUBBYTE_UINT8;
  const int64_t element =
      (part.image * g.height * g.width + pixel) * g.inputs + part.group * call.plan.channels;
  job.x = call.x + element * (job.bytes ? 1 : 4);
  job.channels = call.plan.channels;
  job.zero = l.input_zero;
  job.depth = call.plan.depth;
  return job;
}

// Signs of pixels that follow each other, each a vector of its own.
Binarize pixels_job(const Call &call, const float *values, int64_t count, float *sums,
                    uint8_t *signs) {
  static constexpr ptrdiff_t kOrigin = 0;
  const Plan &plan = call.plan;
  Binarize job = {};
  job.values = values;
  job.step = static_cast<ptrdiff_t>(plan.depth);
  job.offsets = &kOrigin;
  job.count = count;
  job.taps = 1;
  job.channels = plan.channels;
  job.depth = plan.depth;
  job.order = plan.order;
  job.size = static_cast<float>(plan.channels);
  job.sums = sums;
  job.sums_step = static_cast<ptrdiff_t>(plan.padded_columns);
  job.signs = signs;
  job.vector_bytes = plan.vector_bytes;
  job.order_bytes = plan.order_bytes;
  job.residual = reinterpret_cast<float *>(call.scratch + plan.residual);
  return job;
}

// Every beta of an image, one after the other: each needs those before it. What is held of
// rows is not in use yet, and serves as room for sums and signs.
void measure_image(const Call &call, const Part &part) {
  const Plan &plan = call.plan;
  const int64_t pixels = call.layer.geometry.height * call.layer.geometry.width;
  for (int k = 0; k < plan.order; ++k) {
    double total = 0;
    for (int64_t pixel = 0; pixel < pixels; pixel += plan.padded_columns) {
      Load load = load_job(call, part, pixel);
      load.x_step = static_cast<ptrdiff_t>(call.layer.geometry.inputs);
      load.count = std::min(plan.padded_columns, pixels - pixel);
      load.values = call.values();
      load.sums = call.held_sums();
      plan.level->load(load);
      if (k > 0) {
        Binarize job =
            pixels_job(call, call.values(), load.count, call.held_sums(), call.held());
        job.order = k + 1;
        job.scales = call.betas();
        plan.level->binarize(job);
      }
      const float *sums = call.held_sums() + k * plan.padded_columns;
      for (int64_t i = 0; i < load.count; ++i) total += static_cast<double>(sums[i]);
    }
    const auto size = static_cast<double>(pixels) * static_cast<double>(plan.channels);
    call.betas()[k] = static_cast<float>(total / size);
  }
}

// Values of one padded row, and the sums of its pixels.
void load_row(const Call &call, const Part &part, int64_t row, float *values, float *sums) {
  const Plan &plan = call.plan;
  const subbyte_conv_binary &l = call.layer;
  const subbyte_geometry &g = l.geometry;
  const int64_t y = row - g.pads[0];
  const bool inside = y >= 0 && y < plan.rows;
  const int64_t left = inside ? g.pads[1] : plan.padded_columns;
  const int64_t right = inside ? left + plan.columns : plan.padded_columns;
  std::fill(values, values + left * plan.depth, 0.0F);
  std::fill(sums, sums + left, 0.0F);
  std::fill(values + right * plan.depth, values + plan.padded_columns * plan.depth, 0.0F);
  std::fill(sums + right, sums + plan.padded_columns, 0.0F);
  if (!inside) return;
  Load job = load_job(call, part, y * plan.row_step * g.width);
  job.x_step = static_cast<ptrdiff_t>(plan.column_step * g.inputs);
  job.count = plan.columns;
  job.values = values + left * plan.depth;
  job.sums = sums + left;
  plan.level->load(job);
}

// The same of bytes that need no values: what is held of one padded row.
void load_byte_row(const Call &call, const Part &part, int64_t row, uint8_t *held, float *sums) {
  const Plan &plan = call.plan;
  const subbyte_conv_binary &l = call.layer;
  const subbyte_geometry &g = l.geometry;
  const int64_t y = row - g.pads[0];
  const bool inside = y >= 0 && y < plan.rows;
  const int64_t left = inside ? g.pads[1] : plan.padded_columns;
  const int64_t right = inside ? left + plan.columns : plan.padded_columns;
  uint8_t *first = held + left * plan.pixel_bytes, *last = held + right * plan.pixel_bytes;
  std::memset(held, 0, static_cast<size_t>(first - held));
  std::memset(last, 0, static_cast<size_t>(held + plan.padded_columns * plan.pixel_bytes - last));
  std::fill(sums, sums + left, 0.0F);
  std::fill(sums + right, sums + plan.padded_columns, 0.0F);
  if (!inside) return;
  const Load from = load_job(call, part, y * plan.row_step * g.width);
  LoadBytes job = {};
  job.x = static_cast<const uint8_t *>(from.x);
  job.x_step = static_cast<ptrdiff_t>(plan.column_step * g.inputs);
  job.count = plan.columns;
  job.channels = plan.channels;
  job.zero = l.input_zero;
  job.sizes = plan.own_signs ? first : nullptr;
  job.signs = first + (plan.own_signs ? plan.words * kWord : 0);
  job.sizes_step = job.signs_step = plan.pixel_bytes;
  job.sums = sums + left;
  plan.level->load_bytes(job);
}

// What is held of the padded rows begin <= row < end, the first of them in place `at`.
void hold_rows(const Call &call, const Part &part, int64_t begin, int64_t end, int64_t at) {
  const Plan &plan = call.plan;
  for (int64_t row = begin; row < end; ++row, ++at) {
    uint8_t *held = call.held() + at * plan.row_bytes;
    float *sums = call.held_sums() + at * plan.sums_row;
    if (plan.bytes) {
      load_byte_row(call, part, row, held, sums);
      continue;
    }
    if (plan.own_signs) {
      load_row(call, part, row, reinterpret_cast<float *>(held), sums);
      continue;
    }
    load_row(call, part, row, call.values(), sums);
    Binarize job = pixels_job(call, call.values(), plan.padded_columns, sums, held);
    if (call.per_image()) job.scales = call.betas();
    plan.level->binarize(job);
  }
}

// to[column] = the sum over the taps of one plane of sums, of `row` of a band.
void add_taps(const Call &call, int64_t row, int plane, float *to) {
  const Plan &plan = call.plan;
  const subbyte_conv_binary &l = call.layer;
  const subbyte_geometry &g = l.geometry;
  const int64_t width = plan.out_width, stride = plan.stride[1];
  std::fill(to, to + width, 0.0F);
  for (int64_t tap = 0; tap < plan.taps; ++tap) {
    const int64_t y = row * plan.stride[0] + tap / g.kernel[1] * g.dilations[0];
    const float *from = call.held_sums() + y * plan.sums_row + plane * plan.padded_columns +
                        tap % g.kernel[1] * g.dilations[1];
    if (stride == 1) {
      for (int64_t column = 0; column < width; ++column) to[column] += from[column];
    } else {
      for (int64_t column = 0; column < width; ++column) to[column] += from[column * stride];
    }
  }
}

// Signs and sums of every column of `row` of a band, from the values that are held.
void binarize_columns(const Call &call, int64_t row) {
  const Plan &plan = call.plan;
  const uint8_t *values = call.held() + row * plan.stride[0] * plan.row_bytes;
  const int64_t first = row * plan.out_width;
  Binarize job = pixels_job(call, reinterpret_cast<const float *>(values), plan.out_width,
                            call.scales() + first, call.signs() + first * plan.vector_bytes);
  job.step = static_cast<ptrdiff_t>(plan.stride[1] * plan.depth);
  job.offsets = call.tap_offsets();
  job.taps = plan.taps;
  job.size = static_cast<float>(plan.taps * plan.channels);
  job.sums_step = static_cast<ptrdiff_t>(plan.positions);
  job.tap_bytes = plan.tap_bytes;
  plan.level->binarize(job);
}

// Signs of both orders, and betas of the second, of every column of `row` of a band, from the
// sizes and signs that are held and the sums of the first order.
void split_columns(const Call &call, int64_t row) {
  const Plan &plan = call.plan;
  const auto size = static_cast<float>(plan.taps * plan.channels);
  const int64_t first = row * plan.out_width;
  float *betas = call.scales() + first, *sums = betas + plan.positions;
  std::copy_n(betas, plan.out_width, sums);
  for (int64_t i = 0; i < plan.out_width; ++i) betas[i] /= size;
  SplitBytes job = {};
  job.sizes = call.held() + row * plan.stride[0] * plan.row_bytes;
  job.first_signs = job.sizes + plan.words * kWord;
  job.step = static_cast<ptrdiff_t>(plan.stride[1]) * plan.pixel_bytes;
  job.offsets = call.tap_offsets();
  job.count = plan.out_width;
  job.taps = plan.taps;
  job.channels = plan.channels;
  job.betas = betas;
  job.excess = call.counts();
  job.above = job.excess + plan.out_width;
  job.signs = call.signs() + first * plan.vector_bytes;
  job.vector_bytes = plan.vector_bytes;
  job.order_bytes = plan.order_bytes;
  job.tap_bytes = plan.tap_bytes;
  plan.level->split_bytes(job);
  for (int64_t i = 0; i < plan.out_width; ++i) {
    // The sum of the sizes above beta: all of them have floor(beta).
    const double whole = static_cast<double>(static_cast<int64_t>(betas[i]));
    const double above = static_cast<double>(job.above[i]);
    const double upper = static_cast<double>(job.excess[i]) + whole * above;
    const double rest = (2 * upper - static_cast<double>(sums[i])) +
                        static_cast<double>(betas[i]) * (static_cast<double>(size) - 2 * above);
    sums[i] = static_cast<float>(std::max(0.0, rest)) / size;
  }
}

// scales[k][position] of the first `rows` rows of a band.
void set_scales(const Call &call, int64_t rows) {
  const Plan &plan = call.plan;
  const auto size = static_cast<float>(plan.taps * plan.channels);
  for (int k = 0; k < plan.order; ++k) {
    float *scales = call.scales() + k * plan.positions;
    if (call.per_image()) {
      std::fill(scales, scales + rows * plan.out_width, call.betas()[k]);
    } else if (!plan.own_signs || k == 0) {
      for (int64_t row = 0; row < rows; ++row) {
        add_taps(call, row, k, scales + row * plan.out_width);
      }
    }
  }
  const bool split = plan.own_signs && plan.bytes;
  for (int64_t row = 0; plan.own_signs && row < rows; ++row) {
    split ? split_columns(call, row) : binarize_columns(call, row);
  }
  const float unit = call.layer.input_type == SUBBYTE_UINT8 ? call.layer.input_scale : 1.0F;
  for (int k = 0; k < plan.order; ++k) {
    float *scales = call.scales() + k * plan.positions;
    for (int64_t i = 0; i < rows * plan.out_width; ++i) {
      scales[i] = (split || call.per_image() ? scales[i] : scales[i] / size) * unit;
    }
  }
}

// Output rows begin to end of one part.
struct Band {
  Part part;
  int64_t begin, end;
};

// Up to kOutputs outputs of a few output positions.
struct Group {
  int64_t first;       // output, within the group of the convolution
  int64_t position;    // the first, within the band
  int positions;
  const uint8_t *signs[kMaxRows];  // of the positions
};

// All orders of all positions, as many rows at a time as the level takes.
void accumulate(const Call &call, const Band &band, const Group &group) {
  const Plan &plan = call.plan;
  const Level &level = *plan.level;
  const int total = group.positions * plan.order;
  const uint8_t *rows[kMaxRows];
  float *sums[kMaxRows], scales[kMaxRows];
  Tile tile = {};
  tile.rows = rows;
  tile.offsets = call.step_offsets();
  tile.steps = plan.steps;
  tile.size = static_cast<float>(plan.taps * plan.channels);
  tile.scales = scales;
  tile.sums = sums;
  const uint8_t *weights = reinterpret_cast<const uint8_t *>(call.packed) + plan.weights +
                           static_cast<size_t>(band.part.group) * plan.weights_step;
  int parts = (total + level.rows - 1) / level.rows;
  for (int row = 0, p = 0, k = 0; row < total; --parts) {
    const int count = (total - row + parts - 1) / parts;
    for (int i = 0; i < count; ++i, ++row) {
      rows[i] = group.signs[p] + k * plan.order_bytes;
      scales[i] = call.scales()[k * plan.positions + group.position + p];
      sums[i] = call.sums() + p * kOutputs;
      if (++k == plan.order) {
        k = 0;
        ++p;
      }
    }
    const int64_t last = std::min(plan.lane_blocks, (group.first + kOutputs) / level.lanes);
    for (int64_t block = group.first / level.lanes; block < last; block += level.blocks) {
      const int blocks = static_cast<int>(std::min<int64_t>(level.blocks, plan.lane_blocks - block));
      tile.weights = weights + block * plan.steps * level.block_bytes;
      level.accumulate(blocks, count)(tile);
      for (int i = 0; i < count; ++i) sums[i] += blocks * level.lanes;
    }
  }
}

void finish(const Call &call, const Band &band, const Group &group) {
  const Plan &plan = call.plan;
  finish::Job job = {};
  job.output = call.output;
  job.acc = reinterpret_cast<const int32_t *>(call.sums());
  job.real = true;
  job.acc_stride = kOutputs;
  job.pixels = group.positions;
  job.channels = static_cast<int>(std::min<int64_t>(kOutputs, plan.outputs - group.first));
  job.channel = band.part.group * plan.outputs + group.first;
  job.y_stride = call.layer.geometry.outputs;
  const int64_t row = band.part.image * plan.out_height + band.begin;
  job.y_offset = (row * plan.out_width + group.position) * job.y_stride + job.channel;
  job.y = call.y;
  call.finish(job);
}

// All tiles of up to kOutputs outputs over a band: the weights stay in the nearest cache.
void run_outputs(const Call &call, const Band &band, int64_t first) {
  const Plan &plan = call.plan;
  const int64_t total = (band.end - band.begin) * plan.out_width;
  const int most = plan.level->rows;
  Group group = {};
  group.first = first;
  for_tiles(plan, {call.held(), 0}, total, most, group.signs, [&](int64_t position, int count) {
    group.position = position;
    group.positions = count;
    // The columns' own, not those of what is held.
    for (int p = 0; plan.own_signs && p < count; ++p) {
      group.signs[p] = call.signs() + (position + p) * plan.vector_bytes;
    }
    std::fill(call.sums(), call.sums() + count * kOutputs, 0.0F);
    accumulate(call, band, group);
    finish(call, band, group);
  });
}

void run_part(const Call &call, const Part &part, int64_t row_begin, int64_t row_end) {
  const Plan &plan = call.plan;
  if (call.per_image()) measure_image(call, part);
  int64_t held_begin = 0, held_end = 0;
  for (int64_t row = row_begin; row < row_end; row += plan.band) {
    const Band band = {part, row, std::min(row + plan.band, row_end)};
    const int64_t begin = row * plan.stride[0];
    const int64_t end = (band.end - 1) * plan.stride[0] + plan.reach;
    // Rows that the band before holds are moved, not made again.
    const int64_t kept = std::max<int64_t>(0, held_end - begin);
    if (kept > 0) {
      std::memmove(call.held(), call.held() + (begin - held_begin) * plan.row_bytes,
                   static_cast<size_t>(kept * plan.row_bytes));
      std::memmove(call.held_sums(), call.held_sums() + (begin - held_begin) * plan.sums_row,
                   static_cast<size_t>(kept * plan.sums_row) * sizeof(float));
    }
    hold_rows(call, part, begin + kept, end, kept);
    held_begin = begin;
    held_end = end;
    set_scales(call, band.end - band.begin);
    for (int64_t first = 0; first < plan.outputs; first += kOutputs) {
      run_outputs(call, band, first);
    }
  }
}

// Where a position's pixels begin in what is held, and each word of its signs in a row.
void set_offsets(const Call &call) {
  const Plan &plan = call.plan;
  const subbyte_conv_binary &l = call.layer;
  const subbyte_geometry &g = l.geometry;
  for (int64_t tap = 0; tap < plan.taps; ++tap) {
    const ptrdiff_t offset = tap / g.kernel[1] * g.dilations[0] * plan.row_bytes +
                             tap % g.kernel[1] * g.dilations[1] * plan.pixel_bytes;
    call.tap_offsets()[tap] = plan.bytes ? offset : offset / ptrdiff_t{sizeof(float)};
    const ptrdiff_t first = plan.own_signs ? tap * plan.tap_bytes : offset;
    for (int64_t word = 0; word < plan.words; ++word) {
      call.step_offsets()[tap * plan.words + word] = first + word * plan.level->word_bytes;
    }
  }
}

}  // namespace

int run(const subbyte_conv_binary &layer, const Plan &plan, const void *packed, const void *x,
        const subbyte_output *output, void *y, int64_t row_begin, int64_t row_end, void *scratch) {
  const bool floats = layer.input_type == SUBBYTE_FLOAT;
  int status = check_pointer("x", x, floats ? sizeof(float) : 1);
  if (status == SUBBYTE_OK) status = check_header(packed, header_of(layer, *plan.level));
  if (status == SUBBYTE_OK) {
    status = check_rows(row_begin, row_end, layer.geometry.images * plan.out_height);
  }
  if (status == SUBBYTE_OK) {
    status = check_field({"output type", output->type, SUBBYTE_UINT8, SUBBYTE_FLOAT});
  }
  if (status == SUBBYTE_OK) status = check_output(output);
  if (status != SUBBYTE_OK) return status;
  const Call call = {
      layer,  plan, static_cast<const char *>(packed), static_cast<const char *>(x),
      output, y,    static_cast<char *>(scratch),      finish::kLevels.at(plan.level->name)->run};
  set_offsets(call);
  for_parts(
      plan.out_height, layer.geometry.groups, row_begin, row_end,
      [&](const Part &part, int64_t begin, int64_t end) { run_part(call, part, begin, end); });
  return SUBBYTE_OK;
}

}  // namespace subbyte::conv_binary
