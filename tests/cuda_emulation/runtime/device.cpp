#include "device.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

#include "settings.h"
#include "tests/cuda_emulation/emulation.h"

namespace emulation {
namespace {

Limits limits_of(int capability) {
    static const Limits known[] = {
        {120, 99 << 10, 100 << 10, 1536}, {90, 227 << 10, 228 << 10, 2048}, {86, 99 << 10, 100 << 10, 1536},
        {80, 163 << 10, 164 << 10, 2048}, {75, 64 << 10, 64 << 10, 1024},   {70, 96 << 10, 96 << 10, 2048},
    };
    for (const Limits &l : known)
        if (capability >= l.capability) return l;
    return {capability, 48 << 10, 64 << 10, 2048};
}

uint64_t fnv(uint64_t hash, const char *text) {
    for (; *text; text++) hash = (hash ^ static_cast<unsigned char>(*text)) * 0x100000001b3u;
    return hash;
}

/* Made of the host's name and the number of the device on it. */
cudaUUID_t made_up_uuid(int index) {
    char name[256] = "host";
    gethostname(name, sizeof name - 1);
    const std::string text = name + std::to_string(index);
    const uint64_t halves[2] = {fnv(0xcbf29ce484222325u, text.c_str()), fnv(0x9e3779b97f4a7c15u, text.c_str())};
    cudaUUID_t uuid;
    memcpy(uuid.bytes, halves, sizeof uuid.bytes);
    return uuid;
}

cudaUUID_t read_uuid(const std::string &text) {
    std::string digits;
    for (char c : text.substr(text.compare(0, 4, "GPU-") == 0 ? 4 : 0))
        if (c != '-') digits += c;
    cudaUUID_t uuid;
    if (digits.size() != 32 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
        fail("QL_EMU_UUIDS: '%s' is not GPU- and 32 hexadecimal digits", text.c_str());
    for (size_t i = 0; i < 16; i++)
        uuid.bytes[i] = static_cast<char>(strtoul(digits.substr(2 * i, 2).c_str(), nullptr, 16));
    return uuid;
}

template <typename T> T of_device(const std::vector<T> &list, int index) {
    return list[std::min(static_cast<size_t>(index), list.size() - 1)];
}

std::vector<Device> all_devices() {
    const Settings &s = settings();
    std::vector<Device> all;
    for (int i = 0; i < s.devices; i++) {
        Device d = {};
        d.place = i;
        d.capability = of_device(s.capability, i);
        d.limits = limits_of(d.capability);
        d.memory = of_device(s.memory, i);
        d.taken = of_device(s.taken, i);
        const bool given = static_cast<size_t>(i) < s.uuids.size() && !s.uuids[static_cast<size_t>(i)].empty();
        d.uuid = given ? read_uuid(s.uuids[static_cast<size_t>(i)]) : made_up_uuid(i);
        all.push_back(d);
    }
    return all;
}

/* The number that a text begins with, as the driver reads it: "1gpu" is 1, "gpu" is none (-1). */
long leading_number(const std::string &text) {
    char *end = nullptr;
    long number = strtol(text.c_str(), &end, 10);
    return end == text.c_str() ? -1 : number;
}

/* The only device whose UUID begins so, or -1. */
long device_with_uuid(const std::vector<Device> &all, const std::string &beginning) {
    long found = -1;
    for (size_t i = 0; i < all.size(); i++)
        if (uuid_text(all[i].uuid).compare(0, beginning.size(), beginning) == 0) {
            if (found >= 0) return -1;
            found = static_cast<long>(i);
        }
    return found;
}

/* As the driver does: the list ends where it names no device; naming one twice leaves none. */
std::vector<Device> visible_devices() {
    const std::vector<Device> all = all_devices();
    const char *list = getenv("CUDA_VISIBLE_DEVICES");
    if (!list) return all;
    std::vector<Device> visible;
    std::vector<long> named;
    for (const std::string &item : split(list, ',')) {
        const long index = item.compare(0, 4, "GPU-") == 0 ? device_with_uuid(all, item) : leading_number(item);
        if (index < 0 || index >= static_cast<long>(all.size())) break;
        for (long other : named)
            if (other == index) return {};
        named.push_back(index);
        visible.push_back(all[static_cast<size_t>(index)]);
    }
    return visible;
}

thread_local int current;

} // namespace

std::vector<Device> &devices() {
    static std::vector<Device> visible = visible_devices();
    return visible;
}

int current_device() {
    return current;
}

void set_current_device(int index) {
    current = index;
}

std::string uuid_text(const cudaUUID_t &uuid) {
    std::string text = "GPU";
    for (int i = 0; i < 16; i++) {
        char digits[3];
        snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(uuid.bytes[i]));
        if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += digits;
    }
    return text;
}

} // namespace emulation
