#include "checks.h"

#include <initializer_list>

#include "error.h"

namespace subbyte {

int check_output(const subbyte_output *out) {
  if (out->type < SUBBYTE_UINT8 || out->type > SUBBYTE_INT32) {
    return fail(SUBBYTE_BAD_SHAPE, "output type: expected 0 to 2, got %d", out->type);
  }
  if (out->table != nullptr && out->type != SUBBYTE_UINT8) {
    return fail(SUBBYTE_BAD_SHAPE, "output type: expected 0 with a table, got %d", out->type);
  }
  if (out->type == SUBBYTE_INT32) return SUBBYTE_OK;
  if (out->scale == nullptr || out->bias == nullptr) {
    return fail(SUBBYTE_BAD_BUFFER, "output scale and bias: expected pointers, got null");
  }
  for (const int32_t value :
       {out->residual_zero, out->zero, out->low, out->high, out->inner_zero}) {
    if (value < 0 || value > 255) {
      return fail(SUBBYTE_BAD_SHAPE, "output zero points and bounds: expected 0 to 255, got %d",
                  value);
    }
  }
  if (out->low > out->high) {
    return fail(SUBBYTE_BAD_SHAPE, "output bounds: expected low <= high, got %d and %d", out->low,
                out->high);
  }
  return SUBBYTE_OK;
}

int check_rows(int64_t begin, int64_t end, int64_t total) {
  if (begin >= 0 && begin <= end && end <= total) return SUBBYTE_OK;
  return fail(SUBBYTE_BAD_SHAPE, "rows: expected a part of 0 to %lld, got %lld to %lld",
              static_cast<long long>(total), static_cast<long long>(begin),
              static_cast<long long>(end));
}

int check_pointer(const char *name, const void *pointer, uintptr_t alignment) {
  if (pointer == nullptr) return fail(SUBBYTE_BAD_BUFFER, "%s: expected a pointer, got null", name);
  if (reinterpret_cast<uintptr_t>(pointer) % alignment != 0) {
    return fail(SUBBYTE_BAD_BUFFER, "%s: expected alignment to %d bytes", name,
                static_cast<int>(alignment));
  }
  return SUBBYTE_OK;
}

int check_buffers(const void *packed, const subbyte_output *output, const void *y,
                  const void *scratch) {
  int status = check_pointer("packed", packed, SUBBYTE_ALIGNMENT);
  if (status == SUBBYTE_OK) status = check_pointer("output", output);
  if (status == SUBBYTE_OK) status = check_pointer("y", y);
  if (status == SUBBYTE_OK) status = check_pointer("scratch", scratch, SUBBYTE_ALIGNMENT);
  return status;
}

int wrong_header(const char *level) {
  return fail(SUBBYTE_BAD_BUFFER, "packed: expected weights of this layer packed for %s", level);
}

}  // namespace subbyte
