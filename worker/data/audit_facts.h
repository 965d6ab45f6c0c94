/* What the audit knows of tokenizer and model before the first record. Immutable once opened; shared by threads. */
#pragma once
#include "worker/data/tokenizer/tokenizer.h"

typedef struct {
    const ql_tokenizer *tokenizer; /* borrowed */
    int32_t            *stop;      /* the ids at which generation stops: eos_token_id of generation_config.json, or else of
                                    * config.json, and the tokenizer's eos; owned */
    size_t              stops;
} ql_audit_facts;
/* QL_DATA: a file is damaged. */
QL_RESULT ql_audit_facts_open(const char *model_folder, const ql_tokenizer *t, ql_audit_facts *out);
void      ql_audit_facts_close(ql_audit_facts *f);
bool ql_audit_stops(const ql_audit_facts *f, int32_t id);
