/* What the environment says about the machine to pretend (README.md has the list). Nonsense ends the
 * process with a message: a test with a slip in its settings must not pass. */
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace emulation {

struct Fault {
    std::string call;  /* "cudaMemcpyAsync", "launch", ... */
    long at;           /* the first call is 1 */
    std::string error; /* "cudaErrorECCUncorrectable", "CUBLAS_STATUS_EXECUTION_FAILED", ... */
};

enum class Driver { current, old, none };
/* When work of other streams runs that nobody waits for: as late or as early as possible, or by chance. */
enum class Others { last, first, chance };

struct Settings {
    Driver driver;
    int devices;
    std::vector<int> capability;         /* 75, 90; the last one is that of all further devices, as below */
    std::vector<uint64_t> memory, taken; /* bytes of a device; of these, taken by other processes */
    std::vector<std::string> uuids;      /* "" : made up */
    bool deferred;
    Others others;
    uint64_t seed;
    bool host_is_kept_out; /* of the memory of devices */
    std::string calls;     /* a file that is told how often what was called; "": none */
    std::vector<Fault> faults;
};
const Settings &settings();
void read_settings(); /* anew */

/* "a,b,c" -> {"a", "b", "c"}; "" -> {}. */
std::vector<std::string> split(const std::string &list, char separator);
/* A whole number in `text`, or the end of the process. `where` names the variable. */
long read_number(const char *where, const std::string &text);

} // namespace emulation
