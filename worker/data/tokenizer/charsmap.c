#include "worker/data/tokenizer/charsmap.h"

#include <stdlib.h>

#include "worker/data/tokenizer/text.h"

static uint32_t little_endian(const char *bytes) {
    const uint8_t *p = (const uint8_t *)bytes;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

bool ql_charsmap_open(ql_charsmap *m, const char *bytes, size_t n) {
    if (n == 0) return true;
    if (n < 4) return false;
    size_t trie = little_endian(bytes), rest = n - 4;
    if (trie == 0 || trie % 4 || trie > rest) return false;
    m->n_units = trie / 4;
    m->unit = QL_NEW_ARRAY(uint32_t, m->n_units);
    for (size_t i = 0; i < m->n_units; i++) m->unit[i] = little_endian(bytes + 4 + 4 * i);
    m->text_size = rest - trie;
    m->text = ql_strndup(bytes + 4 + trie, m->text_size);
    return ql_utf8_check(m->text, m->text_size) == m->text_size;
}

static bool inside_character(const char *text, size_t n, size_t at) {
    return at < n && ((uint8_t)text[at] & 0xC0) == 0x80;
}

/* A unit: bits 0..7 and 31 its label, bit 8 whether a value hangs on it, bits 10..30 and 9 how far away its children are. */
static size_t offset_of(uint32_t unit) {
    return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6);
}

size_t ql_charsmap_longest(const ql_charsmap *m, const char *text, size_t n, const char **becomes) {
    size_t longest = 0, node = 0;
    if (!m->n_units) return 0;
    node ^= offset_of(m->unit[0]);
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)text[i];
        node ^= byte;
        if (byte == 0 || node >= m->n_units || (m->unit[node] & (1u << 31 | 0xFF)) != byte) break;
        bool has_value = m->unit[node] >> 8 & 1;
        node ^= offset_of(m->unit[node]);
        if (!has_value || node >= m->n_units) continue;
        size_t value = m->unit[node] & ~(1u << 31);
        if (value >= m->text_size || inside_character(m->text, m->text_size, value) || inside_character(text, n, i + 1)) continue;
        longest = i + 1;
        *becomes = m->text + value;
    }
    return longest;
}

void ql_charsmap_free(ql_charsmap *m) {
    free(m->unit);
    free(m->text);
}
