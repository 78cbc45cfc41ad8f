// What the C functions of all kernels have in common: a plan of the layer for this process's level,
// and checks of pointers. `Plan` is a kernel's own, whose make_plan, pack and run are found by it.
//
// Included by files that are compiled for every CPU alone: isa/sets.h.in says why.
#pragma once

#include <initializer_list>

#include "checks.h"

namespace subbyte::c_interface {

template <typename Plan, typename Layer>
int plan_of(const Layer *layer, Plan *plan) {
  return make_plan(layer, Plan::isa_levels().active(), plan);
}

template <typename Plan, typename Layer>
size_t packed_size(const Layer *layer) {
  Plan plan;
  return plan_of(layer, &plan) == SUBBYTE_OK ? plan.packed_size : 0;
}

template <typename Plan, typename Layer>
size_t scratch_size(const Layer *layer) {
  Plan plan;
  return plan_of(layer, &plan) == SUBBYTE_OK ? plan.scratch_size : 0;
}

struct Pointer {
  const char *name;
  const void *at;
  uintptr_t alignment = 1;
};

inline int check_pointers(std::initializer_list<Pointer> pointers) {
  for (const Pointer &pointer : pointers) {
    const int status = check_pointer(pointer.name, pointer.at, pointer.alignment);
    if (status != SUBBYTE_OK) return status;
  }
  return SUBBYTE_OK;
}

// Weights in one array `from`, with this name.
template <typename Plan, typename Layer, typename T>
int pack_array(const Layer *layer, const char *name, const T *from, void *packed) {
  Plan plan;
  int status = plan_of(layer, &plan);
  if (status == SUBBYTE_OK) {
    status = check_pointers({{name, from}, {"packed", packed, SUBBYTE_ALIGNMENT}});
  }
  return status == SUBBYTE_OK ? pack(*layer, plan, from, packed) : status;
}

// Codes of `levels`.
template <typename Plan, typename Layer>
int pack_levels(const Layer *layer, const uint8_t *codes, const int8_t *levels, void *packed) {
  Plan plan;
  int status = plan_of(layer, &plan);
  if (status == SUBBYTE_OK) {
    status = check_pointers(
        {{"codes", codes}, {"levels", levels}, {"packed", packed, SUBBYTE_ALIGNMENT}});
  }
  return status == SUBBYTE_OK ? pack(*layer, plan, codes, levels, packed) : status;
}

// Codes of words, with or without a gain.
template <typename Plan, typename Layer>
int pack_words(const Layer *layer, const uint8_t *codes, const uint8_t *gain_codes,
               const int8_t *gains, const int8_t *codebook, void *packed) {
  Plan plan;
  int status = plan_of(layer, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("codes", codes);
  if (status == SUBBYTE_OK && layer->gain_levels > 0) {
    status = check_pointers({{"gain_codes", gain_codes}, {"gains", gains}});
  }
  if (status == SUBBYTE_OK) {
    status = check_pointers({{"codebook", codebook}, {"packed", packed, SUBBYTE_ALIGNMENT}});
  }
  if (status != SUBBYTE_OK) return status;
  return pack(*layer, plan, codes, gain_codes, gains, codebook, packed);
}

template <typename Plan, typename Layer, typename X>
int run_rows(const Layer *layer, const void *packed, const X *x, const subbyte_output *output,
             void *y, int64_t row_begin, int64_t row_end, void *scratch) {
  Plan plan;
  int status = plan_of(layer, &plan);
  if (status == SUBBYTE_OK) status = check_pointer("x", x);
  if (status == SUBBYTE_OK) status = check_buffers(packed, output, y, scratch);
  if (status != SUBBYTE_OK) return status;
  return run(*layer, plan, packed, x, output, y, row_begin, row_end, scratch);
}

}  // namespace subbyte::c_interface
