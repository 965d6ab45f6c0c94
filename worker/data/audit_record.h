/* What is wrong with one record's tokens and texts. Called by threads. */
#pragma once
#include "worker/data/audit.h"
#include "worker/data/audit_facts.h"
#include "worker/data/target.h"

/* Before the record becomes tokens. */
void ql_audit_texts(const ql_record *r, ql_findings *f);
/* When it has become tokens; r->prompt is the whole text, and `plain_words` says that no special token is meant to be in it. `facts`
 * may be NULL: then only what needs none. */
void ql_audit_tokens(const ql_audit_facts *facts, bool plain_words, const ql_record *r, const ql_tokens *t, ql_findings *f);
