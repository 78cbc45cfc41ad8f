#include "error.h"
#include "isa/isa.h"
#include "subbyte/subbyte.h"

const char *subbyte_isa(void) {
  const auto *active = subbyte::isa::active();
  return active == nullptr ? nullptr : active->name;
}

const char *subbyte_error(void) { return subbyte::last_error(); }
