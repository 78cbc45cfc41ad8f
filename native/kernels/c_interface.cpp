#include "c_interface.h"

#include "error.h"
#include "geometry.h"
#include "isa/isa.h"
#include "subbyte/subbyte.h"

const char *subbyte_isa(void) {
  const auto *active = subbyte::isa::active();
  return active == nullptr ? nullptr : active->name;
}

const char *subbyte_error(void) { return subbyte::last_error(); }

int subbyte_out_size(const subbyte_geometry *geometry, int64_t *height, int64_t *width) {
  int status = subbyte::c_interface::check_pointers(
      {{"geometry", geometry}, {"height", height}, {"width", width}});
  if (status == SUBBYTE_OK) status = subbyte::check_geometry(*geometry);
  subbyte::Walk walk;
  if (status == SUBBYTE_OK) status = subbyte::make_walk(*geometry, &walk);
  if (status != SUBBYTE_OK) return status;
  *height = walk.out_height;
  *width = walk.out_width;
  return SUBBYTE_OK;
}
