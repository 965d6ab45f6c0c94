/* How a text is cut into the words that are merged separately: one row per type. */
#include <string.h>

#include "worker/data/tokenizer/part.h"
#include "worker/data/tokenizer/text.h"

/* ---- from matches to pieces ------------------------------------------------------------------ */

static void span(ql_pieces *p, size_t start, size_t end, bool match) {
    ql_cut s = {(uint32_t)start, (uint32_t)end, match};
    QL_PUSH(p->span, p->n_span, p->span_capacity, s);
}

static void emit(ql_pieces *p, const ql_piece *whole, uint32_t start, uint32_t end) {
    if (start == end) return;
    ql_piece piece = {whole->start + start, whole->start + end, whole->first && start == 0};
    QL_PUSH(p->next, p->n_next, p->next_capacity, piece);
}

/* Does span i join the one before it (or, for MergedWithNext, the one behind it)? */
static bool joins(const ql_pieces *p, size_t i, ql_behavior behavior) {
    bool match = p->span[i].match;
    if (behavior == QL_MERGED_WITH_NEXT) {
        return i + 1 < p->n_span && match && !p->span[i + 1].match;
    }
    if (i == 0) return false;
    bool before = p->span[i - 1].match;
    return behavior == QL_CONTIGUOUS ? match == before : behavior == QL_MERGED_WITH_PREVIOUS && match && !before;
}

/* Turns the spans of one piece into pieces. */
static void emit_spans(ql_pieces *p, const ql_piece *whole, ql_behavior behavior) {
    size_t i = 0;
    while (i < p->n_span) {
        uint32_t start = p->span[i].start, end = p->span[i].end;
        bool drop = behavior == QL_REMOVED && p->span[i].match;
        if (behavior == QL_MERGED_WITH_NEXT) {
            while (joins(p, i, behavior)) end = p->span[++i].end;
            i++;
        } else {
            for (i++; i < p->n_span && joins(p, i, behavior); i++) end = p->span[i].end;
        }
        if (!drop) emit(p, whole, start, end);
    }
}

static void swap_pieces(ql_pieces *p) {
    ql_piece *piece = p->piece;
    size_t capacity = p->piece_capacity;
    p->piece = p->next;
    p->n_piece = p->n_next;
    p->piece_capacity = p->next_capacity;
    p->next = piece;
    p->n_next = 0;
    p->next_capacity = capacity;
}

/* Cuts every piece where the pattern matches. */
static ql_err cut_by_pattern(ql_pieces *p, const ql_pattern *pattern, ql_matcher *m, ql_behavior behavior,
                             bool invert) {
    for (size_t i = 0; i < p->n_piece; i++) {
        const ql_piece *whole = &p->piece[i];
        size_t size = whole->end - whole->start, done = 0;
        ql_search s = ql_search_begin(pattern, m, p->text.data + whole->start, size);
        p->n_span = 0;
        for (;;) {
            bool found;
            QL_TRY(ql_search_next(pattern, m, &s, &found));
            if (!found) break;
            if (done != s.start) span(p, done, s.start, invert);
            span(p, s.start, s.end, !invert);
            done = s.end;
        }
        if (done != size) span(p, done, size, invert);
        emit_spans(p, whole, behavior);
    }
    swap_pieces(p);
    return ql_ok();
}

/* Cuts every piece at the characters that `is` holds for. */
static void cut_by_class(ql_pieces *p, bool (*is)(uint32_t), uint32_t only, ql_behavior behavior) {
    for (size_t i = 0; i < p->n_piece; i++) {
        const ql_piece *whole = &p->piece[i];
        const char *text = p->text.data + whole->start;
        size_t size = whole->end - whole->start, done = 0;
        p->n_span = 0;
        for (size_t at = 0, n; at < size; at += n) {
            uint32_t c;
            n = ql_utf8_get(text + at, &c);
            if (is ? !is(c) : c != only) continue;
            if (done != at) span(p, done, at, false);
            span(p, at, at + n, true);
            done = at + n;
        }
        if (done != size) span(p, done, size, false);
        emit_spans(p, whole, behavior);
    }
    swap_pieces(p);
}

/* ---- rewriting ------------------------------------------------------------------------------- */

static bool begins_with(const char *text, size_t n, const char *with, size_t n_with) {
    return n >= n_with && memcmp(text, with, n_with) == 0;
}

/* What is put in front of a piece belongs to its first character. */
static void put_in_front(ql_pieces *p, const char *text, size_t n, size_t from, size_t to) {
    uint32_t c;
    ql_text_write(&p->text, text, n, from, from < to ? from + ql_utf8_get(p->text.data + from, &c) : to);
}

static void add_prefix_space(ql_pieces *p) {
    ql_str *out = ql_text_other(&p->text);
    for (size_t i = 0; i < p->n_piece; i++) {
        ql_piece *piece = &p->piece[i];
        size_t from = piece->start, to = piece->end;
        piece->start = (uint32_t)out->size;
        if (!begins_with(p->text.data + from, to - from, " ", 1)) put_in_front(p, " ", 1, from, to);
        ql_text_keep(&p->text, from, to);
        piece->end = (uint32_t)out->size;
    }
    ql_text_swap(&p->text);
}

static void map_bytes(ql_pieces *p) {
    ql_str *out = ql_text_other(&p->text);
    for (size_t i = 0; i < p->n_piece; i++) {
        ql_piece *piece = &p->piece[i];
        size_t start = out->size;
        ql_text_map_bytes(&p->text, piece->start, piece->end);
        piece->start = (uint32_t)start;
        piece->end = (uint32_t)out->size;
    }
    ql_text_swap(&p->text);
}

/* ---- the types ------------------------------------------------------------------------------- */

#define GPT2_REGEX "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

static ql_err byte_level_load(ql_part *part, const ql_json *json, const char *where) {
    QL_TRY(ql_get_bool(json, "add_prefix_space", true, where, &part->add_prefix_space));
    QL_TRY(ql_get_bool(json, "use_regex", true, where, &part->use_regex));
    if (!part->use_regex) return ql_ok();
    return ql_pattern_regex(GPT2_REGEX, strlen(GPT2_REGEX), where, &part->pattern);
}

static ql_err byte_level(const ql_part *part, ql_matcher *m, ql_pieces *p) {
    if (part->add_prefix_space) add_prefix_space(p);
    if (part->use_regex) QL_TRY(cut_by_pattern(p, part->pattern, m, QL_ISOLATED, false));
    if (!part->defer_bytes) map_bytes(p);
    return ql_ok();
}

static ql_err split_load(ql_part *part, const ql_json *json, const char *where) {
    QL_TRY(ql_get_pattern(json, where, &part->pattern));
    QL_TRY(ql_get_behavior(json, QL_ISOLATED, true, where, &part->behavior));
    return ql_get_bool(json, "invert", false, where, &part->invert);
}

static ql_err split(const ql_part *part, ql_matcher *m, ql_pieces *p) {
    return cut_by_pattern(p, part->pattern, m, part->behavior, part->invert);
}

/* Bytes [from, to) with markers for spaces. */
static void put_spaces(const ql_part *part, ql_text *t, size_t from, size_t to) {
    while (from < to) {
        const char *space = memchr(t->data + from, ' ', to - from);
        size_t end = space ? (size_t)(space - t->data) : to;
        ql_text_keep(t, from, end);
        if (space) ql_text_write(t, part->content.data, part->content.size, end, end + 1);
        from = end + (space != NULL);
    }
}

static ql_err metaspace(const ql_part *part, ql_matcher *m, ql_pieces *p) {
    (void)m;
    ql_str *out = ql_text_other(&p->text);
    for (size_t i = 0; i < p->n_piece; i++) {
        ql_piece *piece = &p->piece[i];
        const char *text = p->text.data + piece->start;
        size_t n = piece->end - piece->start;
        bool wanted = part->prefix == QL_PREFIX_ALWAYS || (part->prefix == QL_PREFIX_FIRST && piece->first);
        bool there = text[0] == ' ' || begins_with(text, n, part->content.data, part->content.size);
        size_t from = piece->start, to = piece->end;
        piece->start = (uint32_t)out->size;
        if (wanted && !there) put_in_front(p, part->content.data, part->content.size, from, to);
        put_spaces(part, &p->text, from, to);
        piece->end = (uint32_t)out->size;
    }
    ql_text_swap(&p->text);
    if (part->split) cut_by_class(p, NULL, part->character, QL_MERGED_WITH_NEXT);
    return ql_ok();
}

static ql_err digits_load(ql_part *part, const ql_json *json, const char *where) {
    return ql_get_bool(json, "individual_digits", false, where, &part->individual);
}

static ql_err digits(const ql_part *part, ql_matcher *m, ql_pieces *p) {
    (void)m;
    cut_by_class(p, ql_is_numeric, 0, part->individual ? QL_ISOLATED : QL_CONTIGUOUS);
    return ql_ok();
}

static ql_err punctuation_load(ql_part *part, const ql_json *json, const char *where) {
    return ql_get_behavior(json, QL_ISOLATED, false, where, &part->behavior);
}

static ql_err punctuation(const ql_part *part, ql_matcher *m, ql_pieces *p) {
    (void)m;
    cut_by_class(p, ql_is_punctuation, 0, part->behavior);
    return ql_ok();
}

static ql_err whitespace_split(const ql_part *part, ql_matcher *m, ql_pieces *p) {
    (void)part, (void)m;
    cut_by_class(p, ql_is_space, 0, QL_REMOVED);
    return ql_ok();
}

static ql_err bert(const ql_part *part, ql_matcher *m, ql_pieces *p) {
    (void)part, (void)m;
    cut_by_class(p, ql_is_space, 0, QL_REMOVED);
    cut_by_class(p, ql_is_punctuation, 0, QL_ISOLATED);
    return ql_ok();
}

/* \w+|[^\w\s]+ : runs of word characters and runs of others; Rust's \w has Join_Control. */
static ql_err whitespace(const ql_part *part, ql_matcher *m, ql_pieces *p) {
    (void)part, (void)m;
    cut_by_class(p, ql_is_space, 0, QL_REMOVED);
    cut_by_class(p, ql_is_word, 0, QL_CONTIGUOUS);
    return ql_ok();
}

static ql_err delimiter_load(ql_part *part, const ql_json *json, const char *where) {
    return ql_get_character(json, "delimiter", where, &part->character);
}

static ql_err delimiter(const ql_part *part, ql_matcher *m, ql_pieces *p) {
    (void)m;
    cut_by_class(p, NULL, part->character, QL_REMOVED);
    return ql_ok();
}

static ql_err fixed_length_load(ql_part *part, const ql_json *json, const char *where) {
    QL_TRY(ql_get_count(json, "length", where, &part->length));
    QL_CHECK(part->length > 0, QL_DATA, "%s: length must be at least 1", where);
    return ql_ok();
}

static ql_err fixed_length(const ql_part *part, ql_matcher *m, ql_pieces *p) {
    (void)m;
    for (size_t i = 0; i < p->n_piece; i++) {
        const ql_piece *whole = &p->piece[i];
        uint32_t size = whole->end - whole->start, start = 0;
        int64_t count = 0;
        for (uint32_t at = 0; at < size;) {
            uint32_t c;
            at += (uint32_t)ql_utf8_get(p->text.data + whole->start + at, &c);
            if (++count % part->length != 0 && at < size) continue;
            emit(p, whole, start, at);
            start = at;
        }
    }
    swap_pieces(p);
    return ql_ok();
}

static const ql_part_kind kinds[] = {
    {.type = "Sequence", .sequence = "pretokenizers"},
    {.type = "ByteLevel", .load = byte_level_load, .split = byte_level},
    {.type = "Split", .load = split_load, .split = split},
    {.type = "Metaspace", .load = ql_metaspace_load, .split = metaspace},
    {.type = "Digits", .load = digits_load, .split = digits},
    {.type = "Punctuation", .load = punctuation_load, .split = punctuation},
    {.type = "Whitespace", .split = whitespace},
    {.type = "WhitespaceSplit", .split = whitespace_split},
    {.type = "BertPreTokenizer", .split = bert},
    {.type = "CharDelimiterSplit", .load = delimiter_load, .split = delimiter},
    {.type = "FixedLength", .load = fixed_length_load, .split = fixed_length},
};
const ql_part_table ql_pre_tokenizers = {"pre_tokenizer", kinds, QL_LEN(kinds)};
