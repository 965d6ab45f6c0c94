/* Messages between the ranks of a communicator, by MPI and without ever waiting: whoever wants to know asks
 * again. They go over MPI_COMM_WORLD with tags that nobody else uses. */
#pragma once
#include <cstddef>
#include <mpi.h>
#include <vector>

namespace emulation {

int world_rank(); /* 0 in a process without MPI */
int world_size(); /* 1 */

enum : int { first_tag = 20000, last_tag = 32000 };

/* Messages on their way. What they carry lives until they have arrived, or for ever. */
class Traffic {
  public:
    Traffic() = default;
    Traffic(const Traffic &) = delete;
    ~Traffic();
    void send(int to, int tag, const void *data, size_t bytes);
    char *receive(int from, int tag, size_t bytes); /* the place where it will lie */
    /* Whether all have arrived. `error`: MPI says that they cannot. */
    bool arrived(bool *error);

  private:
    char *keep(size_t bytes);
    std::vector<std::vector<char> *> kept;
    std::vector<MPI_Request> requests;
};

} // namespace emulation
