// The definition, not vectorised.
#include "elementwise/stages.h"

namespace subbyte::elementwise {

extern const Level kReference = {
    "reference", pairwise<false>, pairwise<true>, max_window, average_window, map_codes, shuffle,
};

}  // namespace subbyte::elementwise
