/* Which kernel runs a layer of a compressed file. The operators for ONNX Runtime ask this when a
 * session opens; who plans or times layers may ask before. */
#ifndef SUBBYTE_CHOICE_H
#define SUBBYTE_CHOICE_H

#include "subbyte/subbyte.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a file has the weights of a layer:
 *
 * SUBBYTE_WEIGHTS_INT8:   in a form that is decoded to int8 when the file is opened.
 * SUBBYTE_WEIGHTS_WORDS:  codes of words, with or without a gain.
 * SUBBYTE_WEIGHTS_LEVELS: codes of single weights.
 * SUBBYTE_WEIGHTS_SIGNS:  signs, on binarized inputs. */
enum {
  SUBBYTE_WEIGHTS_INT8 = 0,
  SUBBYTE_WEIGHTS_WORDS = 1,
  SUBBYTE_WEIGHTS_LEVELS = 2,
  SUBBYTE_WEIGHTS_SIGNS = 3
};

typedef struct subbyte_weights {
  int32_t format;      /* SUBBYTE_WEIGHTS_INT8, ... */
  int32_t linear;      /* 1: a GEMM, of height rows */
  int32_t table_shift; /* 1: the file says how tables are rounded, so layers may be looked up */
  int32_t bits;        /* of a code of levels: 1 to 8 */
  int64_t words, word_length, gain_levels; /* of words: K, d, and 0 without a gain */
} subbyte_weights;

/* "conv_int8", "gemv_lut16" ...: the header of the kernel. NULL on error.
 *
 * - Signs run on conv_binary.
 * - Words of at most 16 weights are looked up where the file says how tables are rounded, and a sum
 *   has at most 2^16 codes. 16 words run on conv_lut16; streamed layers, with at most 16 gains, on
 *   gemv_lut16; 32 words and more run on conv_lut256.
 * - Levels of at most 4 bits and 2^16 inputs run on gemv_int4 in streamed layers. Elsewhere, 3 and 4
 *   bits run on conv_int4 if y has at least 48 pixels (or rows) and the layer is not depthwise;
 *   2 bits are looked up as 16 words of two weights, where words are.
 * - All others run on conv_int8, decoded.
 *
 * Streamed is a linear layer of at most 4 rows and at least 2^20 weights: it waits for memory. */
SUBBYTE_API const char *subbyte_kernel_of(const subbyte_geometry *geometry,
                                          const subbyte_weights *weights);

#ifdef __cplusplus
}
#endif

#endif
