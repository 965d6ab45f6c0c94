/* What the audit knows of tokenizer and model before the first record, and what is wrong with these. Immutable once opened;
 * shared by threads. */
#pragma once
#include "worker/data/audit/audit.h"
#include "worker/data/tokenizer/tokenizer.h"

typedef struct {
    const ql_tokenizer *tokenizer; /* borrowed */
    int32_t            *stop;      /* the ids at which generation stops: eos_token_id of generation_config.json; or, where that names none or
                                    * was only made of config.json (which may have it from nobody), of this one and the tokenizer's eos; owned */
    size_t              stops, model_stops; /* the first of them are the file's */
    bool                certain;    /* generation_config.json alone says where to stop */
    const char         *stops_from; /* the name of that file; NULL: neither names any */
    int64_t             bos;        /* bos_token_id of the first of these files that has one; -1: none */
    const char         *bos_from;
    int64_t             vocab, positions; /* of the model */
    uint64_t            digest;     /* of all that decides what is found in records */
} ql_audit_facts;
/* QL_DATA: a file is damaged. */
QL_RESULT ql_audit_facts_open(const char *model_folder, const ql_tokenizer *t, int64_t vocab, int64_t positions, ql_audit_facts *out);
void      ql_audit_facts_close(ql_audit_facts *f);
bool      ql_audit_stops(const ql_audit_facts *f, int32_t id);
/* What is wrong with tokenizer and model together. */
void ql_audit_model(const ql_audit_facts *f, ql_audit *a);
