// Instructions that some CPUs of an instruction set lack: what a kernel's level may need beyond
// its set (`needs` of a Level). No inline code: isa/sets.h.in says why.
#pragma once

namespace subbyte::isa {

#if defined(SUBBYTE_X86)
bool has_vpopcntdq();  // counts of bits in 64-bit lanes, of AVX-512
#elif defined(SUBBYTE_ARM64)
bool has_dot_products();  // sdot and udot, optional in Armv8.2
#endif

}  // namespace subbyte::isa
