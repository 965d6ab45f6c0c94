/* What is wrong with one record's tokens and texts. Called by threads. */
#pragma once
#include "worker/data/audit/audit.h"
#include "worker/data/audit/audit_facts.h"
#include "worker/data/target/target.h"

/* Before the record becomes tokens. */
void ql_audit_texts(const ql_record *r, ql_findings *f);
/* With instruction_template, which has made r->prompt of `record`. */
void ql_audit_wording(const ql_json *record, const ql_field_names *names, const ql_record *r, ql_findings *f);
/* When it has become tokens. `plain_words`: no special token is meant to stand in the record. `facts` may be NULL: then only what
 * needs none. */
void ql_audit_tokens(const ql_audit_facts *facts, bool plain_words, const ql_record *r, const ql_tokens *t, ql_findings *f);
/* The same for what only conversations have; facts are there. */
void ql_audit_chat(const ql_audit_facts *facts, const ql_record *r, const ql_tokens *t, ql_findings *f);
/* Notes a token as an example. */
void ql_findings_add_token(const ql_audit_facts *facts, ql_audit_check c, int32_t id, ql_findings *f);
