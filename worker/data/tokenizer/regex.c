#define PCRE2_CODE_UNIT_WIDTH 8
#include "worker/data/tokenizer/regex.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "worker/data/tokenizer/text.h"
#include "worker/data/tokenizer/unicode_age.h"

struct ql_pattern {
    pcre2_code *code; /* NULL: `literal` */
    bool jit;
    char *literal;
    size_t literal_size;
    char *where;
};

/* Oniguruma gives up after ten million retries as well. Memory for backtracking without JIT is
 * bounded in KiB. */
enum { MATCH_LIMIT = 10000000, HEAP_LIMIT = 256 * 1024, JIT_STACK_START = 32 << 10, JIT_STACK_MAX = 16 << 20 };

struct ql_matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    ql_str young; /* a text with stand-ins for young characters */
};

ql_err ql_pattern_literal(const char *text, size_t n, const char *where, ql_pattern **out) {
    QL_CHECK(n > 0, QL_DATA, "%s: the pattern is empty", where);
    ql_pattern *p = QL_NEW(ql_pattern);
    p->literal = ql_strndup(text, n);
    p->literal_size = n;
    p->where = ql_strdup(where);
    *out = p;
    return ql_ok();
}

static ql_err compile(const char *text, size_t n, const char *where, pcre2_code **out) {
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    QL_CHECK(context, QL_TEMP, "out of memory");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_bsr(context, PCRE2_BSR_UNICODE);
    int code;
    PCRE2_SIZE at;
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    *out = pcre2_compile((PCRE2_SPTR)text, n, options, &code, &at, context);
    pcre2_compile_context_free(context);
    if (*out) return ql_ok();
    char why[256];
    pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
    return ql_fail(QL_DATA, "%s: the regular expression cannot be used: %s (at '%.40s')", where, why,
                   at <= n ? text + at : "");
}

ql_err ql_pattern_regex(const char *regex, size_t n, const char *where, ql_pattern **out) {
    QL_CHECK(n > 0, QL_DATA, "%s: the pattern is empty", where);
    ql_str translated = {0};
    pcre2_code *code = NULL;
    ql_err e = ql_regex_translate(regex, n, where, &translated);
    if (!ql_bad(e)) e = compile(translated.data, translated.size, where, &code);
    ql_str_free(&translated);
    QL_TRY(e);
    ql_pattern *p = QL_NEW(ql_pattern);
    p->code = code;
    /* Where the kernel forbids making code, pcre2_match interprets: slower, same matches. */
    p->jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
    p->where = ql_strdup(where);
    *out = p;
    return ql_ok();
}

void ql_pattern_free(ql_pattern *p) {
    if (!p) return;
    pcre2_code_free(p->code);
    free(p->literal);
    free(p->where);
    free(p);
}

ql_matcher *ql_matcher_open(void) {
    ql_matcher *m = QL_NEW(ql_matcher);
    m->data = pcre2_match_data_create(1, NULL); /* only the whole match is asked for */
    m->context = pcre2_match_context_create(NULL);
    m->stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, NULL);
    if (m->context) {
        pcre2_set_match_limit(m->context, MATCH_LIMIT);
        pcre2_set_heap_limit(m->context, HEAP_LIMIT);
        if (m->stack) pcre2_jit_stack_assign(m->context, NULL, m->stack);
    }
    return m;
}

void ql_matcher_close(ql_matcher *m) {
    if (!m) return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    pcre2_jit_stack_free(m->stack);
    ql_str_free(&m->young);
    free(m);
}

ql_search ql_search_begin(const ql_pattern *p, ql_matcher *m, const char *text, size_t n) {
    return (ql_search){.text = p->code ? ql_stand_in_text(text, n, &m->young) : text, .size = n};
}

static int run(const ql_pattern *p, ql_matcher *m, const ql_search *s) {
    PCRE2_SPTR text = (PCRE2_SPTR)s->text;
    if (p->jit && m->stack) {
        int rc = pcre2_jit_match(p->code, text, s->size, s->from, PCRE2_NO_UTF_CHECK, m->data, m->context);
        if (rc != PCRE2_ERROR_JIT_STACKLIMIT) return rc;
    }
    return pcre2_match(p->code, text, s->size, s->from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, m->data, m->context);
}

static ql_err search_regex(const ql_pattern *p, ql_matcher *m, ql_search *s, bool *found) {
    QL_CHECK(m->data && m->context, QL_TEMP, "out of memory");
    int rc = run(p, m, s);
    *found = rc >= 0;
    if (rc == PCRE2_ERROR_NOMATCH) return ql_ok();
    if (rc >= 0) {
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(m->data);
        s->start = at[0];
        s->end = at[1];
        /* \K inside a lookahead can put the start behind the end. */
        QL_CHECK(s->start <= s->end && s->start >= s->from, QL_DATA, "%s: the regular expression matches backwards",
                 p->where);
        return ql_ok();
    }
    char why[256];
    pcre2_get_error_message(rc, (PCRE2_UCHAR *)why, sizeof why);
    return ql_fail(QL_DATA, "%s: the regular expression gives up %zu bytes into a piece of text: %s; shorten the text",
                   p->where, s->from, why);
}

static void search_literal(const ql_pattern *p, ql_search *s, bool *found) {
    const char *hit = memmem(s->text + s->from, s->size - s->from, p->literal, p->literal_size);
    *found = hit != NULL;
    if (!hit) return;
    s->start = (size_t)(hit - s->text);
    s->end = s->start + p->literal_size;
}

ql_err ql_search_next(const ql_pattern *p, ql_matcher *m, ql_search *s, bool *found) {
    *found = false;
    while (s->from <= s->size) {
        if (p->code)
            QL_TRY(search_regex(p, m, s, found));
        else
            search_literal(p, s, found);
        if (!*found) return ql_ok();
        bool again = s->start == s->end && s->any && s->end == s->previous_end;
        if (!again) {
            s->from = s->previous_end = s->end;
            s->any = true;
            return ql_ok();
        }
        /* An empty match right behind the last one does not count; look one character on. */
        uint32_t c;
        s->from += s->from < s->size ? ql_utf8_get(s->text + s->from, &c) : 1;
        *found = false;
    }
    return ql_ok();
}
