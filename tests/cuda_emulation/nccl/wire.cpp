#include "wire.h"

#include <climits>
#include <cstring>

#include "tests/cuda_emulation/emulation.h"

namespace emulation {
namespace {

bool speaks_mpi() {
    int begun = 0, ended = 0;
    MPI_Initialized(&begun);
    MPI_Finalized(&ended);
    return begun && !ended;
}

} // namespace

int world_rank() {
    int rank = 0;
    if (speaks_mpi()) MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

int world_size() {
    int size = 1;
    if (speaks_mpi()) MPI_Comm_size(MPI_COMM_WORLD, &size);
    return size;
}

/* MPI may still read and write what has not arrived. */
Traffic::~Traffic() {
    bool error;
    if (!requests.empty() && !(speaks_mpi() && arrived(&error))) return;
    for (std::vector<char> *data : kept) delete data;
}

char *Traffic::keep(size_t bytes) {
    if (bytes > INT_MAX) fail("a message of %zu bytes between ranks; the emulation sends 2 GiB at most", bytes);
    kept.push_back(new std::vector<char>(bytes + 1));
    return kept.back()->data();
}

void Traffic::send(int to, int tag, const void *data, size_t bytes) {
    char *copy = keep(bytes);
    memcpy(copy, data, bytes);
    requests.emplace_back();
    MPI_Isend(copy, static_cast<int>(bytes), MPI_BYTE, to, tag, MPI_COMM_WORLD, &requests.back());
}

char *Traffic::receive(int from, int tag, size_t bytes) {
    char *place = keep(bytes);
    requests.emplace_back();
    MPI_Irecv(place, static_cast<int>(bytes), MPI_BYTE, from, tag, MPI_COMM_WORLD, &requests.back());
    return place;
}

bool Traffic::arrived(bool *error) {
    int done = 1;
    *error = !requests.empty() &&
             MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE) != MPI_SUCCESS;
    if (done && !*error) requests.clear();
    return done && !*error;
}

} // namespace emulation
