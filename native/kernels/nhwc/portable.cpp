// For any CPU.
#include "nhwc/stages.h"

namespace subbyte::nhwc {

extern const Level kPortable = {"portable", pairwise<false>, pairwise<true>, max_window, average_window};

}  // namespace subbyte::nhwc
