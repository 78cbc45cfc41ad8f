// For AVX-512.
#include "nhwc/stages.h"

namespace subbyte::nhwc {

extern const Level kAvx512 = {"avx512", pairwise<false>, pairwise<true>, max_window, average_window};

}  // namespace subbyte::nhwc
