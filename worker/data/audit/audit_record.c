#include "worker/data/audit/audit_record.h"

#include <string.h>

/* ---- ends ------------------------------------------------------------------------------------ */

static bool is_blank_text(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r\n", text[i]) || !text[i]) return false;
    return true;
}

/* A token of white space, as it stands behind the end of a turn; the marker of a word decodes to nothing. */
static bool is_blank(const ql_audit_facts *f, int32_t id) {
    ql_str text = {0};
    bool   blank = !ql_bad(ql_decode(f->tokenizer, &id, 1, false, &text)) && is_blank_text(text.data, text.size);
    ql_str_free(&text);
    return blank;
}

void ql_findings_add_token(const ql_audit_facts *facts, ql_audit_check c, int32_t id, ql_findings *f) {
    size_t      n = 0;
    const char *piece = ql_tokenizer_piece(facts->tokenizer, id, &n);
    ql_findings_add(f, c, piece ? piece : "", n);
}

/* Tokens [from, to) of the record are targets, and those beside them are not: a turn, or a part of one that the template marks. So it is only
 * known of the last that what was said ends there; and of conversations audit_chat.c knows more. */
static void look_at_end(const ql_audit_facts *f, const ql_tokens *t, size_t from, size_t to, ql_findings *out) {
    const ql_ids *ids = &t->ids;
    size_t        last = to, next = to;
    while (last > from && !ql_audit_stops(f, ids->id[last - 1]) && is_blank(f, ids->id[last - 1])) last--;
    int32_t end = last > from ? ids->id[last - 1] : -1;
    if (ql_audit_stops(f, end)) return;
    while (next < ids->count && !ql_audit_stops(f, ids->id[next]) && is_blank(f, ids->id[next])) next++;
    if (next < ids->count) {
        if (ql_audit_stops(f, ids->id[next])) ql_findings_add_token(f, QL_AUDIT_END_UNTRAINED, ids->id[next], out);
    } else if (t->conversation) {
        return;
    } else if (ql_tokenizer_is_special(f->tokenizer, end)) {
        ql_findings_add_token(f, QL_AUDIT_END_NOT_STOP, end, out);
    } else {
        ql_findings_add(out, QL_AUDIT_END_MISSING, NULL, 0);
    }
}

static void look_at_ends(const ql_audit_facts *f, const ql_tokens *t, ql_findings *out) {
    for (size_t i = 0; i < t->ids.count;) {
        size_t from = i;
        while (i < t->ids.count && t->is_target[i] == t->is_target[from]) i++;
        if (t->is_target[from]) look_at_end(f, t, from, i, out);
    }
}

/* ---- beginnings and texts -------------------------------------------------------------------- */

static void look_at_beginning(const ql_audit_facts *f, const ql_ids *ids, ql_findings *out) {
    int32_t bos = ql_tokenizer_bos_id(f->tokenizer), eos = ql_tokenizer_eos_id(f->tokenizer);
    bool    both_ends = bos == eos && ids->count == 2; /* of an empty text */
    if (bos >= 0 && ids->count >= 2 && ids->id[0] == bos && ids->id[1] == bos && !both_ends) ql_findings_add_token(f, QL_AUDIT_TWO_BOS, bos, out);
}

void ql_audit_texts(const ql_record *r, ql_findings *f) {
    if (!r->has_prompt || r->messages > 0) return;
    if (r->prompt.size == 0) ql_findings_add(f, QL_AUDIT_EMPTY_PROMPT, NULL, 0);
    if (r->completion.size == 0) ql_findings_add(f, QL_AUDIT_EMPTY_COMPLETION, NULL, 0);
}

/* ---- special tokens in texts ----------------------------------------------------------------- */

/* Bos and eos at the ends are no part of what was written. */
static void look_for_special(const ql_audit_facts *f, const ql_ids *ids, ql_findings *out) {
    size_t from = 0, to = ids->count;
    while (to > 0 && ids->id[to - 1] == ql_tokenizer_eos_id(f->tokenizer)) to--;
    while (from < to && ids->id[from] == ql_tokenizer_bos_id(f->tokenizer)) from++;
    for (size_t i = from; i < to; i++)
        if (ql_tokenizer_is_special(f->tokenizer, ids->id[i])) ql_findings_add_token(f, QL_AUDIT_SPECIAL_IN_TEXT, ids->id[i], out);
}

/* ---- all ------------------------------------------------------------------------------------- */

void ql_audit_wording(const ql_json *record, const ql_field_names *names, const ql_record *r, ql_findings *f) {
    const char *const field[] = {names->instruction, names->input, names->question, names->system};
    for (size_t i = 0; i < QL_LEN(field); i++) {
        size_t      n = 0;
        const char *text = ql_json_text(ql_json_get(record, field[i]), &n);
        while (n > 0 && is_blank_text(text, 1)) text++, n--;
        while (n > 0 && is_blank_text(text + n - 1, 1)) n--;
        if (n > 0 && !memmem(r->prompt.data, r->prompt.size, text, n)) ql_findings_add(f, QL_AUDIT_FIELD_LOST, field[i], strlen(field[i]));
    }
}

void ql_audit_tokens(const ql_audit_facts *facts, bool plain_words, const ql_record *r, const ql_tokens *t, ql_findings *f) {
    if (t->prompt_changed) ql_findings_add(f, QL_AUDIT_PROMPT_CHANGED, NULL, 0);
    if (t->stray) ql_findings_add(f, QL_AUDIT_STRAY, t->stray, strlen(t->stray));
    if (!facts) return;
    look_at_beginning(facts, &t->ids, f);
    if (facts->stops > 0) look_at_ends(facts, t, f);
    if (plain_words) look_for_special(facts, &t->ids, f);
    if (t->conversation) ql_audit_chat(facts, r, t, f);
}
