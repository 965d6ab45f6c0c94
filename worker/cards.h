/* Graphics cards that a run can be planned for while there is none in the machine. */
#pragma once
#include "kernels/device.h"

typedef struct {
    const char *name, *title; /* as --gpu has it; as people have it */
    uint64_t    bytes_total;  /* that its driver lets programs have: less than what is sold */
    int         capability;   /* as in ql_device_info */
} ql_card;

/* Upper and lower case are the same. QL_USAGE with all names, and the nearest. */
QL_RESULT ql_card_find(const char *name, const ql_card **out);
/* What ql_device_describe would say of one that nobody else uses, once a process has taken `context` bytes by opening it. */
ql_device_info ql_card_info(const ql_card *c, uint64_t context);
