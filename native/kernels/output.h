// Checks of what every kernel's run function is given.
#pragma once

#include "subbyte/subbyte.h"

namespace subbyte {

// SUBBYTE_OK, or an error with last_error() set.
int check_output(const subbyte_output *output);
int check_rows(int64_t begin, int64_t end, int64_t total);
int check_pointer(const char *name, const void *pointer, uintptr_t alignment = 1);

}  // namespace subbyte
