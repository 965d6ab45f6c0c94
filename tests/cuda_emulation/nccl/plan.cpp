#include "plan.h"

#include <cctype>
#include <cstdlib>
#include <nccl.h>

#include "tests/cuda_emulation/emulation.h"
#include "tests/cuda_emulation/runtime/settings.h"

namespace emulation {
namespace {

constexpr const char *name = "QL_EMU_NCCL";

/* "version=21300" or "hang:3": what stands behind `what` and the separator, if it does. */
bool take(const std::string &item, const std::string &what, long *number) {
    if (item.compare(0, what.size(), what) != 0) return false;
    *number = read_number(name, item.substr(what.size()));
    return true;
}

void follow(NcclPlan &plan, const std::string &item) {
    long number = 0;
    if (item == "init_hang")
        plan.init_hang = true;
    else if (item == "init_error")
        plan.init_error = true;
    else if (take(item, "version=", &number))
        plan.version = static_cast<int>(number);
    else if (take(item, "polls=", &number))
        plan.polls = static_cast<int>(number);
    else if (take(item, "hang:", &number))
        plan.hang = number;
    else if (take(item, "async_error:", &number))
        plan.async_error = number;
    else
        fail("%s: '%s' is none of version=N, polls=N, init_hang, init_error, hang:N, async_error:N", name,
             item.c_str());
}

} // namespace

NcclPlan read_nccl_plan(int rank) {
    NcclPlan plan = {NCCL_VERSION_CODE, 3, false, false, 0, 0};
    const char *text = getenv(name);
    for (const std::string &item : split(text ? text : "", ',')) {
        const bool has_rank = isdigit(static_cast<unsigned char>(item.c_str()[0])) != 0;
        const size_t colon = item.find(':');
        if (has_rank && colon == std::string::npos) fail("%s: '%s' names a rank and nothing else", name, item.c_str());
        if (has_rank && read_number(name, item.substr(0, colon)) != rank) continue;
        follow(plan, has_rank ? item.substr(colon + 1) : item);
    }
    return plan;
}

} // namespace emulation
