/* What a device can give at most, measured in this process: the measure for what a step reaches. */
#pragma once
#include "worker/model/model.h"

typedef struct {
    double flops; /* FLOP/s of products with dense matrices of the model's shapes, weighed by their work */
    double bytes; /* bytes/s, read and written, of a large copy                                          */
} device_rates;

/* `rows` tokens at a time, elements of type `act`. Opens the device once more for a while; call it before the run
 * takes the memory. A failure ends the program. */
device_rates measure_device(const char *kind, const ql_model *m, ql_dtype act, int64_t rows);

/* The least seconds that a step of `tokens` tokens can take, of which products do `flop`: reference is
 * the formula of docs/performance.md, with nothing overlapped. `decodes`: how often each 4-bit matrix is decoded. */
double least_seconds(const device_rates *r, const ql_model *m, double flop, int64_t tokens, double decodes);
