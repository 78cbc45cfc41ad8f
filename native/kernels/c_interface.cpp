#include "conv_lut16/select.h"
#include "error.h"
#include "subbyte/subbyte.h"

const char *subbyte_isa(void) {
  const auto *active = subbyte::conv_lut16::active_level();
  return active == nullptr ? nullptr : active->name;
}

const char *subbyte_error(void) { return subbyte::last_error(); }
