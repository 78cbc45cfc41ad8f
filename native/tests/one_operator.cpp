// A library of operators that registers one operator of another library, chosen by name.
//
// ONNX Runtime makes a schema of every operator that is registered, for every session: with
// all of them this is nine tenths of the time that opening a model of one node takes. The
// fuzzer of tests/native opens a hundred thousand.
#include <dlfcn.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <string>

#include "ort/interface/api.h"
#include "subbyte/subbyte.h"

namespace {

using subbyte::ort::CustomOp;

enum Slot {
#define SUBBYTE_ORT_SLOT(slot, name, result, arguments) k##name = slot,
  SUBBYTE_ORT_ENTRIES(SUBBYTE_ORT_SLOT)
#undef SUBBYTE_ORT_SLOT
};

constexpr size_t kTableSize = kKernelContext_ParallelFor + 1;  // the last entry in use

const OrtApiBase *real;
const void *table[kTableSize];
std::map<std::string, const CustomOp *> operators;
std::map<std::string, OrtCustomOpDomain *> domains;
std::string library, chosen;

template <typename Function>
const void *entry(Function *function) {
  return reinterpret_cast<const void *>(reinterpret_cast<uintptr_t>(function));
}

template <typename Function>
Function *function(const void *address) {
  return reinterpret_cast<Function *>(reinterpret_cast<uintptr_t>(address));
}

OrtStatus *create_domain(const char *, OrtCustomOpDomain **domain) {
  *domain = nullptr;
  return nullptr;
}

OrtStatus *note(OrtCustomOpDomain *, const CustomOp *op) {
  operators[op->GetName(op)] = op;
  return nullptr;
}

OrtStatus *add_nothing(OrtSessionOptions *, OrtCustomOpDomain *) { return nullptr; }

// The runtime's own interface, but what is registered with it is only noted.
const void *const *noting_api(uint32_t version) {
  const void *const *api = real->GetApi(version);
  std::copy(api, api + kTableSize, table);
  table[kCreateCustomOpDomain] = entry(create_domain);
  table[kCustomOpDomain_Add] = entry(note);
  table[kAddCustomOpDomain] = entry(add_nothing);
  return table;
}

OrtStatus *failed(const void *const *api, const char *why) {
  return function<OrtStatus *(int, const char *)>(api[kCreateStatus])(subbyte::ort::kFail, why);
}

OrtStatus *note_operators(OrtSessionOptions *options, const void *const *api) {
  void *opened = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (opened == nullptr) return failed(api, dlerror());
  const OrtApiBase noting = {noting_api, real->GetVersionString};
  return function<OrtStatus *(OrtSessionOptions *, const OrtApiBase *)>(
      dlsym(opened, "RegisterCustomOps"))(options, &noting);
}

// The domain that has the chosen operator alone; one that no library has leaves it empty.
OrtStatus *domain_of_chosen(const void *const *api, OrtCustomOpDomain **domain) {
  OrtStatus *status = function<OrtStatus *(const char *, OrtCustomOpDomain **)>(
      api[kCreateCustomOpDomain])("subbyte", domain);
  const auto found = operators.find(chosen);
  if (status != nullptr || found == operators.end()) return status;
  return function<OrtStatus *(OrtCustomOpDomain *, const CustomOp *)>(api[kCustomOpDomain_Add])(
      *domain, found->second);
}

}  // namespace

// From the next session on: operator `name` of the library at `path`, the same for all calls.
extern "C" SUBBYTE_API void choose_operator(const char *path, const char *name) {
  library = path;
  chosen = name;
}

extern "C" SUBBYTE_API OrtStatus *RegisterCustomOps(OrtSessionOptions *options,
                                                    const OrtApiBase *base) {
  real = base;
  const void *const *api = base->GetApi(subbyte::ort::kApiVersion);
  OrtStatus *status = operators.empty() ? note_operators(options, api) : nullptr;
  OrtCustomOpDomain *&domain = domains[chosen];
  if (status == nullptr && domain == nullptr) status = domain_of_chosen(api, &domain);
  if (status != nullptr) return status;
  return function<OrtStatus *(OrtSessionOptions *, OrtCustomOpDomain *)>(
      api[kAddCustomOpDomain])(options, domain);
}
