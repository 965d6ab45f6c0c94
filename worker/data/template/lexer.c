#include "worker/data/template/lexer.h"

#include <string.h>

#include "worker/data/template/literal.h"
#include "worker/data/template/template.h"

typedef struct {
    jj_heap *h;
    const jj_text *source; /* with "\n" as the only end of line, and without the last */
    size_t at;
    bool line_start; /* the last token ended a line */
    jj_token *tokens;
    size_t n, capacity;
    char open[QL_TEMPLATE_NESTING]; /* the closing brackets that are waited for */
    int n_open;
} lexer;

static int peek(const lexer *l, size_t ahead) {
    return l->at + ahead < l->source->size ? (unsigned char)l->source->data[l->at + ahead] : -1;
}

static bool sees(const lexer *l, const char *word) {
    size_t n = strlen(word);
    return l->source->size - l->at >= n && !memcmp(l->source->data + l->at, word, n);
}

static void advance(lexer *l, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) l->h->line += l->source->data[l->at + i] == '\n';
    l->at += bytes;
}

static void skip_space(lexer *l) {
    while (l->at < l->source->size && jj_is_space(jj_char(l->source, l->at))) advance(l, jj_char_size(l->source, l->at));
}

static jj_token *add(lexer *l, jj_token_kind kind) {
    l->tokens = jj_grow(l->h, l->tokens, l->n, &l->capacity, sizeof *l->tokens);
    l->tokens[l->n] = (jj_token){.kind = kind, .line = l->h->line};
    return &l->tokens[l->n++];
}

static void add_data(lexer *l, size_t from, size_t to) {
    if (to > from) add(l, JJ_T_DATA)->text = jj_text_at(l->h, l->source->data + from, to - from);
}

/* Where the text before a tag ends. `sign` is what stands behind the tag's opening; `strips`: a tag that takes the blanks
 * before it when nothing else stands on its line. */
static size_t text_end(const lexer *l, size_t from, size_t to, int sign, bool strips) {
    jj_text before = {.data = l->source->data + from, .size = to - from};
    if (sign == '-') return from + (before.size ? jj_strip(l->h, &before, NULL, JJ_RIGHT)->size : 0);
    if (sign == '+' || !strips) return to;
    const char *end = memrchr(before.data, '\n', before.size);
    size_t line = end ? (size_t)(end - before.data) + 1 : 0;
    if (!end && !l->line_start) return to;
    jj_text blanks = {.data = before.data + line, .size = before.size - line};
    return jj_strip(l->h, &blanks, NULL, JJ_RIGHT)->size == 0 ? from + line : to;
}

/* Takes "%}" and the like, with its sign; a block or comment takes the end of line behind it, too. */
static bool take_close(lexer *l, const char *close, bool is_block) {
    int sign = peek(l, 0) == '-' || (is_block && peek(l, 0) == '+') ? peek(l, 0) : 0;
    size_t n = sign != 0;
    if (peek(l, n) != close[0] || peek(l, n + 1) != close[1]) return false;
    size_t from = l->at;
    advance(l, n + 2);
    if (sign == '-') skip_space(l);
    else if (is_block && sign != '+' && peek(l, 0) == '\n') advance(l, 1);
    l->line_start = l->source->data[l->at - 1] == '\n' && l->at > from;
    return true;
}

static void comment(lexer *l) {
    uint32_t line = l->h->line;
    while (l->at < l->source->size) {
        if (take_close(l, "#}", true)) return;
        advance(l, 1);
    }
    l->h->line = line;
    jj_fail(l->h, "a comment has no end: #} is missing");
}

static bool is_name_char(int c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80; }

static void name(lexer *l) {
    size_t from = l->at;
    while (is_name_char(peek(l, 0)) || (peek(l, 0) >= '0' && peek(l, 0) <= '9')) l->at++;
    add(l, JJ_T_NAME)->text = jj_text_at(l->h, l->source->data + from, l->at - from);
}

static void bracket(lexer *l, int c) {
    int closes = c == '(' ? ')' : c == '[' ? ']' : c == '{' ? '}' : 0;
    if (closes) {
        if (l->n_open == QL_TEMPLATE_NESTING) jj_fail(l->h, "brackets are nested more than %d deep", QL_TEMPLATE_NESTING);
        l->open[l->n_open++] = (char)closes;
    } else if (c == ')' || c == ']' || c == '}') {
        if (!l->n_open || l->open[l->n_open - 1] != c) jj_fail(l->h, "\"%c\" closes nothing that is open", c);
        l->n_open--;
    }
}

static void operator(lexer *l) {
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    for (size_t i = 0; i < QL_LEN(two); i++)
        if (sees(l, two[i])) {
            add(l, JJ_T_OPERATOR)->op = JJ_OP(two[i][0], two[i][1]);
            advance(l, 2);
            return;
        }
    int c = peek(l, 0);
    if (c <= ' ' || !strchr("+-/*%~[](){}><=.:|,;", c)) jj_fail(l->h, "\"%c\" has no meaning here", c >= ' ' && c < 0x7f ? c : '?');
    bracket(l, c);
    add(l, JJ_T_OPERATOR)->op = JJ_OP(c, 0);
    advance(l, 1);
}

static void literal(lexer *l) {
    jj_token *t = add(l, JJ_T_LITERAL);
    bool after_dot = l->n > 1 && t[-1].kind == JJ_T_OPERATOR && t[-1].op == JJ_OP('.', 0);
    size_t used;
    jj_value v = jj_read_literal(l->h, l->source, l->at, after_dot, &used);
    advance(l, used);
    l->tokens[l->n - 1].value = v;
}

/* The inside of {{ }} or {% %}, and its end. */
static void inside(lexer *l, jj_token_kind end, const char *close) {
    uint32_t line = l->h->line;
    l->n_open = 0;
    for (;;) {
        skip_space(l);
        uint32_t here = l->h->line;
        if (l->n_open == 0 && take_close(l, close, end == JJ_T_BLOCK_END)) {
            add(l, end)->line = here;
            return;
        }
        int c = peek(l, 0);
        if (c < 0) {
            l->h->line = line;
            jj_fail(l->h, "a tag has no end: %s is missing", close);
        }
        if ((c >= '0' && c <= '9') || c == '"' || c == '\'') literal(l);
        else if (is_name_char(c)) name(l);
        else operator(l);
    }
}

/* Whether "{% WORD" stands here; `sign` and `size` are those of the opening, up to the end of the word and blanks behind. */
static bool opens_word(lexer *l, const char *word, int *sign, size_t *size) {
    lexer try = *l;
    uint32_t line = l->h->line;
    bool found = false;
    if (sees(&try, "{%")) {
        advance(&try, 2);
        *sign = peek(&try, 0) == '-' || peek(&try, 0) == '+' ? peek(&try, 0) : 0;
        advance(&try, *sign != 0);
        skip_space(&try);
        if (sees(&try, word)) {
            advance(&try, strlen(word));
            skip_space(&try);
            *size = try.at - l->at;
            found = sees(&try, "%}") || sees(&try, "-%}") || sees(&try, "+%}");
        }
    }
    l->h->line = line;
    return found;
}

static void raw(lexer *l, size_t opening) {
    uint32_t line = l->h->line;
    int sign;
    advance(l, opening);
    bool strips = peek(l, 0) == '-';
    if (peek(l, 0) == '+') jj_fail(l->h, "+%%} cannot end a raw tag");
    advance(l, strips ? 3 : 2);
    l->line_start = false;
    size_t blanks = l->at;
    if (strips) skip_space(l);
    l->line_start = l->at > blanks && l->source->data[l->at - 1] == '\n';
    for (size_t from = l->at; l->at < l->source->size; advance(l, 1)) {
        if (!opens_word(l, "endraw", &sign, &opening)) continue;
        add_data(l, from, text_end(l, from, l->at, sign, true));
        advance(l, opening);
        if (!take_close(l, "%}", true)) continue;
        return;
    }
    l->h->line = line;
    jj_fail(l->h, "a raw block has no end: {%% endraw %%} is missing");
}

static void tag(lexer *l, size_t text_from) {
    int c = peek(l, 1), sign = 0;
    size_t opening = 0, here = l->at;
    bool is_raw = c == '%' && opens_word(l, "raw", &sign, &opening);
    if (!is_raw) sign = peek(l, 2) == '-' || peek(l, 2) == '+' ? peek(l, 2) : 0;
    add_data(l, text_from, text_end(l, text_from, here, sign, c != '{'));
    if (is_raw) {
        raw(l, opening);
        return;
    }
    advance(l, sign ? 3 : 2);
    l->line_start = false;
    if (c == '#') {
        comment(l);
    } else {
        add(l, c == '%' ? JJ_T_BLOCK : JJ_T_PRINT);
        inside(l, c == '%' ? JJ_T_BLOCK_END : JJ_T_PRINT_END, c == '%' ? "%}" : "}}");
    }
}

static const jj_text *with_plain_lines(jj_heap *h, const char *source, size_t size) {
    char *copy = jj_alloc(h, size);
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        if (source[i] == '\r' && i + 1 < size && source[i + 1] == '\n') continue;
        copy[n++] = source[i] == '\r' ? '\n' : source[i];
    }
    return jj_text_at(h, copy, n > 0 && copy[n - 1] == '\n' ? n - 1 : n);
}

const jj_token *jj_lex(jj_heap *h, const char *source, size_t size, size_t *n) {
    lexer l = {.h = h, .source = with_plain_lines(h, source, size), .line_start = true};
    h->line = 1;
    size_t from = 0;
    while (l.at < l.source->size) {
        int next = peek(&l, 1);
        if (peek(&l, 0) != '{' || (next != '{' && next != '%' && next != '#')) {
            advance(&l, 1);
            continue;
        }
        tag(&l, from);
        from = l.at;
    }
    add_data(&l, from, l.at);
    add(&l, JJ_T_END);
    *n = l.n;
    return l.tokens;
}
