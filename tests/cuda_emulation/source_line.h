/* Where in the source an access stands, in 64 bits: a line that a function was told, or an address in the
 * program. */
#pragma once
#include <cuda_runtime.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_emulation.h>
#include <stdint.h>
#include <string.h>
#include <string>

namespace emulation {

/* Addresses have 47 bits, so what is above tells a line from an address of code. */
inline uint64_t site_of(place at) {
    return static_cast<uint64_t>(at.line) << 48 | reinterpret_cast<uint64_t>(at.file);
}
inline uint64_t site_of(const void *return_address) {
    return reinterpret_cast<uint64_t>(return_address);
}

inline bool same_line(place a, place b) {
    return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0);
}

/* "kernels/cuda/x.cu", wherever the sources lie. */
std::string short_path(const std::string &path);
/* "kernels/cuda/x.cu:12". An address is looked up by addr2line, if there is one. */
std::string source_line(uint64_t site);

} // namespace emulation
