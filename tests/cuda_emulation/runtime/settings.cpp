#include "settings.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "tests/cuda_emulation/emulation.h"

namespace emulation {
namespace {

const char *variable(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

/* "8GiB", "512MiB", "65536". */
uint64_t read_bytes(const char *where, const std::string &text) {
    char *end = nullptr;
    uint64_t number = strtoull(text.c_str(), &end, 10);
    if (end == text.c_str()) fail("%s: '%s' is no number of bytes", where, text.c_str());
    static const struct {
        const char *unit;
        int shift;
    } units[] = {{"", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
    for (const auto &u : units)
        if (!strcmp(end, u.unit)) return number << u.shift;
    fail("%s: '%s' has an unknown unit; write KiB, MiB or GiB", where, text.c_str());
}

std::vector<uint64_t> read_sizes(const char *name, const char *otherwise) {
    std::vector<uint64_t> sizes;
    for (const std::string &item : split(variable(name, otherwise), ',')) sizes.push_back(read_bytes(name, item));
    if (sizes.empty()) fail("%s is empty", name);
    return sizes;
}

Driver read_driver() {
    const std::string value = variable("QL_EMU_DRIVER", "");
    if (value.empty()) return Driver::current;
    if (value == "old") return Driver::old;
    if (value == "none") return Driver::none;
    fail("QL_EMU_DRIVER: '%s' is neither old nor none", value.c_str());
}

/* Whether the variable is the second of two words; the first is what it is when not set. */
bool read_choice(const char *name, const char *usual, const char *other) {
    const std::string value = variable(name, usual);
    if (value != usual && value != other) fail("%s: '%s' is neither %s nor %s", name, value.c_str(), usual, other);
    return value == other;
}

void read_others(Settings &s) {
    const std::string value = variable("QL_EMU_OTHER_STREAMS", "last");
    s.seed = 0;
    if (value == "last")
        s.others = Others::last;
    else if (value == "first")
        s.others = Others::first;
    else {
        s.others = Others::chance;
        s.seed = static_cast<uint64_t>(read_number("QL_EMU_OTHER_STREAMS", value));
    }
}

void read_faults(Settings &s) {
    for (const std::string &item : split(variable("QL_EMU_FAIL", ""), ',')) {
        const std::vector<std::string> parts = split(item, ':');
        if (parts.size() != 3) fail("QL_EMU_FAIL: '%s' is not call:n:error", item.c_str());
        s.faults.push_back({parts[0], read_number("QL_EMU_FAIL", parts[1]), parts[2]});
    }
    const std::string nth = variable("QL_EMU_FAIL_MALLOC", "");
    if (!nth.empty())
        s.faults.push_back({"cudaMalloc", read_number("QL_EMU_FAIL_MALLOC", nth), "cudaErrorMemoryAllocation"});
}

Settings current;
bool known;

} // namespace

std::vector<std::string> split(const std::string &list, char separator) {
    std::vector<std::string> items;
    for (size_t from = 0; from < list.size();) {
        size_t to = list.find(separator, from);
        if (to == std::string::npos) to = list.size();
        items.push_back(list.substr(from, to - from));
        from = to + 1;
    }
    return items;
}

long read_number(const char *where, const std::string &text) {
    char *end = nullptr;
    errno = 0;
    long number = strtol(text.c_str(), &end, 10);
    if (text.empty() || *end || errno) fail("%s: '%s' is no whole number", where, text.c_str());
    return number;
}

void read_settings() {
    Settings s;
    s.driver = read_driver();
    s.devices = static_cast<int>(read_number("QL_EMU_DEVICES", variable("QL_EMU_DEVICES", "1")));
    for (const std::string &item : split(variable("QL_EMU_CAPABILITY", "90"), ','))
        s.capability.push_back(static_cast<int>(read_number("QL_EMU_CAPABILITY", item)));
    if (s.capability.empty()) fail("QL_EMU_CAPABILITY is empty");
    s.memory = read_sizes("QL_EMU_MEMORY", "8GiB");
    s.taken = read_sizes("QL_EMU_MEMORY_TAKEN", "0");
    s.uuids = split(variable("QL_EMU_UUIDS", ""), ',');
    s.deferred = read_choice("QL_EMU_STREAMS", "immediate", "deferred");
    s.host_is_kept_out = read_choice("QL_EMU_HOST_ACCESS", "allowed", "forbidden");
    s.calls = variable("QL_EMU_CALLS", "");
    read_others(s);
    read_faults(s);
    current = s;
    known = true;
}

const Settings &settings() {
    if (!known) read_settings();
    return current;
}

} // namespace emulation
