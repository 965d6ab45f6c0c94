/* Which rank computes on which device, decided from what every rank sees; no call of any driver. */
#pragma once
#include "base/mem.h"
#include "base/err.h"

enum { QL_OFFER_DEVICES = 32 };
/* What one rank sees. */
typedef struct {
    char host[64];
    char visible[128]; /* how CUDA_VISIBLE_DEVICES narrows it; "": it does not */
    char why[256];     /* there is no device                                   */
    int  count;
    char id[QL_OFFER_DEVICES][48]; /* the same for all ranks that see a device; see ql_device_info */
} ql_device_offer;

/* ordinal[r]: the device of rank r, an index into offer[r].id, or -1: the rank stands by. No device goes to two
 * ranks, as many ranks as possible get one, lower ranks first, and the i-th rank of a machine gets the machine's i-th
 * device where all see the same. Returns how many ranks compute. */
int ql_devices_share(const ql_device_offer *offer, int ranks, int *ordinal);
/* One line about the ranks that stand by: how many, which, and why the first of them does. */
void ql_devices_share_text(const ql_device_offer *offer, int ranks, const int *ordinal, ql_str *out);
