#include "isa/cpu.h"

#if defined(SUBBYTE_ARM64) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace subbyte::isa {

#if defined(SUBBYTE_X86)

bool has_vpopcntdq() { return __builtin_cpu_supports("avx512vpopcntdq"); }

#elif defined(SUBBYTE_ARM64)

bool has_dot_products() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#elif defined(__APPLE__)
  return true;  // every Mac with an Arm CPU
#else
  return false;
#endif
}

#endif

}  // namespace subbyte::isa
