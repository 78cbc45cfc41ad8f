// The definition, not vectorised.
#include "nhwc/stages.h"

namespace subbyte::nhwc {

extern const Level kReference = {"reference", pairwise<false>, pairwise<true>, max_window, average_window};

}  // namespace subbyte::nhwc
