// The walk over output rows and pixels that all convolutions share: the rows of a call image by
// image, and the pixels of a band in tiles. `Plan` is the one of a run.cpp.
//
// Included by files that are compiled for every CPU alone: isa/sets.h.in says why.
#pragma once

#include <algorithm>

#include "geometry.h"

namespace subbyte {

// One group of the convolution on one image.
struct Part {
  int64_t image, group;
};

// The output rows row_begin <= row < row_end of all images, by image: run(image, begin, end),
// rows of the image.
template <typename Run>
void for_images(int64_t out_height, int64_t row_begin, int64_t row_end, const Run &run) {
  for (int64_t row = row_begin; row < row_end;) {
    const int64_t image = row / out_height, first = image * out_height;
    const int64_t end = std::min(row_end, first + out_height);
    run(image, row - first, end - first);
    row = end;
  }
}

// The same by image and group: run(part, begin, end).
template <typename Run>
void for_parts(int64_t out_height, int64_t groups, int64_t row_begin, int64_t row_end,
               const Run &run) {
  for_images(out_height, row_begin, row_end, [&](int64_t image, int64_t begin, int64_t end) {
    for (int64_t group = 0; group < groups; ++group) run(Part{image, group}, begin, end);
  });
}

// Where the next pixel of a band is read.
struct Cursor {
  const uint8_t *row;
  int64_t column;
};

// The next `count` pixels.
template <typename Plan>
void take_pixels(const Plan &plan, int count, Cursor *cursor, const uint8_t **pixels) {
  for (int p = 0; p < count; ++p) {
    pixels[p] = cursor->row + cursor->column * plan.stride[1] * plan.pixel_bytes;
    if (++cursor->column == plan.out_width) {
      cursor->column = 0;
      cursor->row += plan.stride[0] * plan.row_bytes;
    }
  }
}

// The next `total` pixels in tiles of at most `most` of them: tile(first, count), with pixels[p]
// where pixel first + p is read.
template <typename Plan, typename Tile>
void for_tiles(const Plan &plan, Cursor cursor, int64_t total, int most, const uint8_t **pixels,
               const Tile &tile) {
  int64_t tiles = ceil_div(total, most);
  for (int64_t pixel = 0; pixel < total; --tiles) {
    // Even shares: no small tile is left at the end.
    const int count = static_cast<int>(ceil_div(total - pixel, tiles));
    take_pixels(plan, count, &cursor, pixels);
    tile(pixel, count);
    pixel += count;
  }
}

}  // namespace subbyte
