/* The tensors of `qlora quantize`: which become 4-bit, and the file they are written to. Private to
 * quantize_folder.c. */
#pragma once
#include "checkpoint/bnb.h"

/* What becomes of one tensor of the model. */
typedef struct {
    const ql_stored *from;
    bool             quantised;
    ql_bnb_form      form; /* when quantised */
} ql_quantize_item;

typedef struct {
    const ql_quant   *type;
    bool              double_quant;
    ql_quantize_item *item;
    size_t            n, done;
    int             (*stops)(void); /* whether somebody wants us to; may be NULL */
    /* room for the largest quantised tensor */
    uint8_t *packed, *absmax_q;
    float   *absmax, *nested_absmax;
} ql_quantize_job;

/* First pass: chooses, checks that every weight is finite, and finds the sizes of the header, which
 * depend on how many digits each offset has. */
QL_RESULT ql_quantize_survey(ql_quantize_job *j, const ql_tensor_set *s,
                             bool (*is_quantised)(const char *tensor_name, void *ctx), void *ctx);
/* Second pass: quantises and writes one tensor after the other. */
QL_RESULT ql_quantize_write(ql_quantize_job *j, const char *path);
void      ql_quantize_job_free(ql_quantize_job *j);
