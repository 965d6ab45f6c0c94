#include "tests/cuda_emulation/source_line.h"
#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>
#include <string.h>

namespace emulation {

constexpr int line_at = 48;

/* Functions of headers are inlined into kernels, whose line is asked for. */
static bool is_of_a_header(const std::string &line) {
    return line.find("/include/cuda_") != std::string::npos || line.find("language.h") != std::string::npos;
}
std::string short_path(const std::string &path) {
    for (const char *folder : {"/kernels/", "/tests/"}) {
        size_t at = path.rfind(folder);
        if (at != std::string::npos) return path.substr(at + 1);
    }
    return path;
}

static std::string looked_up(uint64_t return_address) {
    uint64_t address = return_address - 1; /* within the call */
    Dl_info of;
    if (!dladdr(reinterpret_cast<const void *>(address), &of)) return "?";
    const Elf64_Ehdr *header = static_cast<const Elf64_Ehdr *>(of.dli_fbase);
    if (header->e_type == ET_DYN) address -= reinterpret_cast<uint64_t>(of.dli_fbase);
    char command[512], line[1024];
    snprintf(command, sizeof command, "addr2line -i -e '%s' 0x%lx 2>/dev/null", of.dli_fname,
             static_cast<unsigned long>(address));
    std::string found = "?";
    FILE *answer = popen(command, "r");
    if (!answer) return found;
    while (fgets(line, sizeof line, answer)) {
        line[strcspn(line, "\n (")] = '\0';
        if (found == "?" || is_of_a_header(found)) found = line;
    }
    pclose(answer);
    return found;
}

std::string source_line(uint64_t site) {
    if (!(site >> line_at)) return short_path(looked_up(site));
    const char *file = reinterpret_cast<const char *>(site & ((1ull << line_at) - 1));
    return short_path(file) + ":" + std::to_string(site >> line_at);
}

} // namespace emulation
