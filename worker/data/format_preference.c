/* Preference pairs: {"prompt": ..., "chosen": ..., "rejected": ...}. Each side comes to a prompt and a completion. Without a
 * prompt, what the two sides begin with in common is one, by TRL's rule: up to the first character that differs, less a space
 * before it, which goes to the completions; where one side is the beginning of the other, its last character stays there, too. */
#include <string.h>

#include "worker/data/record.h"

static bool claims(const ql_json *record, const ql_field_names *f) {
    return ql_record_has(record, f->chosen) && ql_record_has(record, f->rejected);
}

typedef struct {
    const char *text;
    size_t      size;
} side;

static ql_err read_side(const ql_json *record, const char *field, side *out) {
    const ql_json *v = ql_json_get(record, field);
    out->text = ql_json_text(v, &out->size);
    QL_CHECK(v, QL_DATA, "the field \"%s\" is absent; a preference pair needs both answers", field);
    QL_CHECK(out->text, QL_DATA, "the field \"%s\" is %s; expected a string", field, ql_json_kind_name(v));
    QL_CHECK(out->size > 0, QL_DATA, "the field \"%s\" is empty; remove the record, or write what was answered", field);
    return ql_ok();
}

static bool is_inside_character(const char *text, size_t at) {
    return ((unsigned char)text[at] & 0xc0) == 0x80;
}

/* How many bytes of the prompt they share, by TRL's rule. */
static size_t shared_prompt(const side *a, const side *b) {
    size_t n = 0, most = a->size < b->size ? a->size : b->size;
    while (n < most && a->text[n] == b->text[n]) n++;
    bool is_beginning = n == most;
    if (is_beginning) n--; /* into the last character that they share */
    while (n > 0 && is_inside_character(a->text, n)) n--;
    return n > 0 && !is_beginning && a->text[n - 1] == ' ' ? n - 1 : n;
}

static ql_err read_texts(const ql_json *record, const ql_field_names *f, bool better, ql_record *out) {
    side chosen, rejected;
    QL_TRY(read_side(record, f->chosen, &chosen));
    QL_TRY(read_side(record, f->rejected, &rejected));
    QL_CHECK(chosen.size != rejected.size || memcmp(chosen.text, rejected.text, chosen.size) != 0, QL_DATA,
             "\"%s\" and \"%s\" are the same, so that nothing is preferred; remove the record", f->chosen, f->rejected);
    bool   given = ql_record_has(record, f->prompt);
    size_t shared = given ? 0 : shared_prompt(&chosen, &rejected);
    QL_CHECK(given || shared > 0, QL_DATA, "there is no \"%s\", and \"%s\" and \"%s\" do not begin alike; add the prompt that they answer (\"\" if there is none)",
             f->prompt, f->chosen, f->rejected);
    if (given) QL_TRY(ql_record_text(record, f->prompt, "preference", &out->prompt));
    else ql_str_put(&out->prompt, chosen.text, shared);
    side *answer = better ? &chosen : &rejected;
    ql_str_put(&out->completion, answer->text + shared, answer->size - shared);
    out->has_prompt = true;
    return ql_ok();
}

static ql_err read_chosen(const ql_json *record, const ql_field_names *f, ql_record *out) {
    return read_texts(record, f, true, out);
}

static ql_err read_rejected(const ql_json *record, const ql_field_names *f, ql_record *out) {
    return read_texts(record, f, false, out);
}

const ql_record_format ql_format_preference = {"preference", "chosen+rejected", true, claims, read_chosen, read_rejected};
