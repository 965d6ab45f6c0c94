/* What only conversations can have wrong: what the template lost, how turns end, special tokens that people wrote. */
#include <string.h>

#include "worker/data/audit/audit_record.h"
#include "worker/data/record/conversation.h"
#include "worker/data/target/lost.h"

static void look_at_losses(const ql_tokens *t, ql_findings *f) {
    static const struct {
        uint32_t       bit;
        ql_audit_check check;
    } loss[] = {{QL_LOST_SYSTEM, QL_AUDIT_SYSTEM_LOST},
                {QL_LOST_TEXT, QL_AUDIT_TEXT_LOST},
                {QL_LOST_CALLS, QL_AUDIT_CALLS_LOST},
                {QL_LOST_TOOLS, QL_AUDIT_TOOLS_LOST},
                {QL_LOST_THINKING, QL_AUDIT_THINKING_LOST}};
    for (size_t i = 0; i < QL_LEN(loss); i++)
        if (t->lost & loss[i].bit) ql_findings_add(f, loss[i].check, NULL, 0);
    if (t->lost_key) ql_findings_add(f, QL_AUDIT_KEY_LOST, t->lost_key, strlen(t->lost_key));
    if (t->asked_clock) ql_findings_add(f, QL_AUDIT_CLOCK, NULL, 0);
}

static void look_at_turns(const ql_audit_facts *facts, const ql_tokens *t, ql_findings *f) {
    bool untrained = f->bits >> QL_AUDIT_END_UNTRAINED & 1;
    if (t->turns == 0 || facts->stops == 0 || untrained) return;
    if (t->turns_without_end > 0) ql_findings_add(f, QL_AUDIT_END_MISSING, NULL, 0);
    else if (t->end_id >= 0 && !ql_audit_stops(facts, t->end_id)) ql_findings_add_token(facts, QL_AUDIT_END_NOT_STOP, t->end_id, f);
}

/* What the assistant says may hold tokens that mark its thoughts or calls; not ends. */
static void look_at_text(const ql_audit_facts *facts, const ql_json *text, bool answer, ql_findings *f) {
    size_t      n = 0, at = 0;
    const char *data = ql_json_text(text, &n);
    if (!data) return;
    for (int32_t id; (id = ql_tokenizer_special_in(facts->tokenizer, data, n, &at)) >= 0;)
        if (!answer || ql_audit_stops(facts, id)) ql_findings_add_token(facts, QL_AUDIT_SPECIAL_IN_TEXT, id, f);
}

static void look_at_message(const ql_audit_facts *facts, const ql_json *message, ql_findings *f) {
    bool           answer = ql_message_is(message, "assistant");
    const ql_json *content = ql_json_get(message, "content");
    look_at_text(facts, content, answer, f);
    for (size_t i = 0; ql_json_is(content, QL_JSON_ARRAY) && i < ql_json_size(content); i++)
        look_at_text(facts, ql_json_get(ql_json_at(content, i), "text"), answer, f);
}

void ql_audit_chat(const ql_audit_facts *facts, const ql_record *r, const ql_tokens *t, ql_findings *f) {
    look_at_losses(t, f);
    look_at_turns(facts, t, f);
    for (size_t i = 0; i < r->messages; i++) look_at_message(facts, r->message[i], f);
}
