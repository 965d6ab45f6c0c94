/* Where a device's time goes: takes the place of its operations with ones that run them and note how
 * long they took and, where the time of products is what counts, how much they had to compute. */
#pragma once
#include "kernels/device.h"
#include "worker/model/model.h"

/* From now on `d` is watched; the products with the weights of `m` are told from those with the
 * adapter. Both must live as long as the device works. One device at a time. */
void op_times_watch(ql_device *d, const ql_model *m);
/* Forgets what was noted. */
void op_times_clear(void);
/* What all products had to compute, since then. */
double op_times_flop(void);
/* A table of what was noted: seconds a step, share of `total` seconds of `steps` steps, GFLOP/s and
 * their share of `peak`. Attention counts visible pairs only. */
void op_times_print(double total, int64_t steps, double peak);
