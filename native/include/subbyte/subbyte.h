/* subbyte's native kernels: convolution and GEMM on few-bit weights. Here is the part that they all
 * share; each kernel has a header of its own.
 *
 * Plain C, no dependency, no allocation, no threads: the caller owns every buffer and may
 * split the rows of one call over its own threads (one scratch buffer each).
 *
 * Functions that return int return SUBBYTE_OK or one of the codes below; functions that
 * return a size return 0 on error. subbyte_error() then gives the problem, expected and got.
 */
#ifndef SUBBYTE_SUBBYTE_H
#define SUBBYTE_SUBBYTE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define SUBBYTE_API __attribute__((visibility("default")))
#else
#define SUBBYTE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum {
  SUBBYTE_OK = 0,
  SUBBYTE_BAD_ISA = 1,   /* SUBBYTE_ISA names no level, or one this CPU does not have */
  SUBBYTE_BAD_SHAPE = 2, /* a size, stride, padding, shift ... out of its range */
  SUBBYTE_BAD_DATA = 3,  /* a code, gain or codebook entry out of its range */
  SUBBYTE_BAD_BUFFER = 4 /* null or misaligned pointer, or weights packed for another layer */
};

/* packed and scratch buffers start at a multiple of this many bytes */
#define SUBBYTE_ALIGNMENT 64

/* The level (instruction set) in use: "reference" or "portable" on any CPU, "avx2" or "avx512" on
 * x86-64, "neon" on 64-bit Arm. The best one this CPU has, or the one the environment variable
 * SUBBYTE_ISA names; chosen once per process. A kernel whose own version of it needs instructions
 * that this CPU lacks runs the next level below. NULL where SUBBYTE_ISA cannot be met; every other
 * function then fails as well. */
SUBBYTE_API const char *subbyte_isa(void);

/* The calling thread's last error, one line; "" before the first. */
SUBBYTE_API const char *subbyte_error(void);

/* What every convolution begins with. A GEMM y[M][outputs] = x[M][inputs] is height M, width 1,
 * kernel 1 x 1. */
typedef struct subbyte_geometry {
  int64_t images, height, width; /* of x: [images][height][width][inputs] */
  int64_t inputs, outputs;       /* channels, over all groups */
  int64_t groups;                /* of the convolution */
  int64_t kernel[2], strides[2], dilations[2]; /* vertical, horizontal */
  int64_t pads[4];               /* top, left, bottom, right: filled with zero points */
} subbyte_geometry;

/* Height and width of y. */
SUBBYTE_API int subbyte_out_size(const subbyte_geometry *geometry, int64_t *height, int64_t *width);

/* From the sums of a kernel, which its header defines, to y:
 *
 *   SUBBYTE_INT32: y = sum
 *   SUBBYTE_FLOAT: y = sum * scale[o] + bias[o] (+ residual_scale * (r - residual_zero))
 *   SUBBYTE_UINT8: the same, rounded half to even, + zero, clamped to low .. high; the
 *                  caller has divided scale, bias and residual_scale by y's own scale.
 *                  With a table, a function of that code: y = table[code]
 *
 * With a residual and an inner_scale that is not 0, the value added to the residual is
 * quantized itself, q = clamp(round_half_even(sum * scale[o] + bias[o]), -inner_zero,
 * 255 - inner_zero):  y = q * inner_scale + residual_scale * (r - residual_zero)
 *
 * in float32, each operation rounded: the same on every level. y and r have the layout
 * [images][out_height][out_width][outputs] and any alignment. */
enum { SUBBYTE_UINT8 = 0, SUBBYTE_FLOAT = 1, SUBBYTE_INT32 = 2 };

typedef struct subbyte_output {
  int32_t type;            /* SUBBYTE_UINT8, SUBBYTE_FLOAT or SUBBYTE_INT32 */
  const float *scale;      /* [outputs] */
  const float *bias;       /* [outputs] */
  const uint8_t *residual; /* NULL or r */
  float residual_scale;
  int32_t residual_zero, zero, low, high; /* 0 to 255, low <= high */
  float inner_scale;       /* 0: no rounding before the residual is added */
  int32_t inner_zero;      /* 0 to 255 */
  const uint8_t *table;    /* NULL or [256]; SUBBYTE_UINT8 alone */
} subbyte_output;

#ifdef __cplusplus
}
#endif

#endif
