/* The ways to sum on a device. Internal: data_plane.c chooses one. */
#pragma once
#include "collective/data_plane.h"

enum { QL_PLANE_PIECE = 32 << 20 }; /* bytes that are summed at a time at most */

typedef struct {
    const char *device_kind; /* NULL: any */
    bool        hides;
    uint64_t    device_bytes; /* that its library takes, estimated */
    void (*name)(char name[64]);
    ql_err (*open)(ql_world *w, ql_device *d, void **state); /* collective */
    ql_err (*begin)(void *state, ql_tensor t);
    ql_err (*finish)(void *state, double patience);
    void (*close)(void *state);
} ql_plane;

extern const ql_plane ql_plane_host;
