#include "launcher/mpi/hosts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

enum { MOST_HOSTS = 4096, MOST_SLOTS = 4096, LONGEST_NAME = 253, LARGEST_FILE = 1 << 20 };

/* What a message quotes of a word that may be of any length. */
#define SHOWN(n) ((int)((n) < 60 ? (n) : 60))

static bool is_name(const char *text, size_t n) {
    if (n == 0 || n > LONGEST_NAME || text[0] == '-') return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("._-", text[i])) return false;
    return true;
}

static bool read_slots(const char *text, size_t n, int64_t *out) {
    *out = 0;
    for (size_t i = 0; i < n && i < 5; i++) {
        if (!isdigit((unsigned char)text[i])) return false;
        *out = *out * 10 + (text[i] - '0');
    }
    return n > 0 && n < 5 && *out > 0 && *out <= MOST_SLOTS;
}

static ql_err add(ql_hosts *h, const char *where, const char *name, size_t n, int64_t slots) {
    QL_CHECK(is_name(name, n), QL_USAGE, "%s: '%.*s' is no name of a host; letters, digits, '.', '_' and '-' make one, and :N its slots", where,
             SHOWN(n), name);
    for (size_t i = 0; i < h->count; i++)
        QL_CHECK(strlen(h->host[i].name) != n || strncasecmp(h->host[i].name, name, n) != 0, QL_USAGE,
                 "%s: the host %.*s is there twice; name it once, with the number of its slots", where, SHOWN(n), name);
    QL_CHECK(h->count < MOST_HOSTS && ql_hosts_slots(h) + slots <= MOST_SLOTS, QL_USAGE, "%s: more than %d hosts or slots", where, MOST_HOSTS);
    ql_host host = {ql_strndup(name, n), slots};
    QL_PUSH(h->host, h->count, h->capacity, host);
    return ql_ok();
}

static ql_err bad_slots(const char *where, const char *text, size_t n) {
    return ql_fail(QL_USAGE, "%s: '%.*s' is no number of slots; expected 1 to %d", where, SHOWN(n), text, MOST_SLOTS);
}

/* ---- a,b:2,c ---- */

static ql_err read_list(const char *list, ql_hosts *h) {
    static const char where[] = "--hosts";
    for (const char *at = list;; at++) {
        size_t      n = strcspn(at, ",");
        const char *colon = memchr(at, ':', n);
        size_t      name = colon ? (size_t)(colon - at) : n;
        int64_t     slots = 1;
        if (colon && !read_slots(colon + 1, n - name - 1, &slots)) return bad_slots(where, colon + 1, n - name - 1);
        QL_TRY(add(h, where, at, name, slots));
        at += n;
        if (!*at) return ql_ok();
    }
}

/* ---- a line for each host: NAME [slots=N] [max_slots=N] # remark ---- */

static const char BLANKS[] = " \t\r";

/* "slots=4" or Open MPI's limit above it, which says nothing that we need. */
static ql_err read_attribute(const char *where, const char *word, size_t n, int64_t *slots) {
    static const char *const names[] = {"slots=", "max_slots=", "max-slots="};
    for (size_t i = 0; i < QL_LEN(names); i++) {
        size_t  length = strlen(names[i]);
        int64_t value;
        if (n < length || strncmp(word, names[i], length)) continue;
        if (!read_slots(word + length, n - length, &value)) return bad_slots(where, word + length, n - length);
        if (i == 0) *slots = value;
        return ql_ok();
    }
    return ql_fail(QL_USAGE, "%s: '%.*s' is not understood; expected: NAME slots=N", where, SHOWN(n), word);
}

static ql_err read_line(const char *where, const char *line, size_t n, ql_hosts *h) {
    const char *end = line + n, *name = line + strspn(line, BLANKS);
    size_t      length = 0;
    int64_t     slots = 1;
    if (name >= end) return ql_ok();
    length = strcspn(name, " \t\r\n");
    for (const char *word = name + length;;) {
        word += strspn(word, BLANKS);
        if (word >= end) break;
        size_t m = strcspn(word, " \t\r\n");
        if (word + m > end) m = (size_t)(end - word);
        QL_TRY(read_attribute(where, word, m, &slots));
        word += m;
    }
    return add(h, where, name, length < (size_t)(end - name) ? length : (size_t)(end - name), slots);
}

static ql_err read_file(const char *file, ql_hosts *h) {
    ql_str text = {0};
    ql_err e = ql_err_as(ql_file_read(file, LARGEST_FILE, &text), QL_USAGE);
    if (!ql_bad(e) && text.size > 0 && memchr(text.data, 0, text.size)) e = ql_fail(QL_USAGE, "%s: is no text", file);
    int number = 1;
    for (const char *line = text.data; !ql_bad(e) && line && *line; number++) {
        size_t whole = strcspn(line, "\n"), n = strcspn(line, "#\n");
        char  *where = ql_format("%s:%d", file, number);
        e = read_line(where, line, n, h);
        free(where);
        line += whole + (line[whole] == '\n');
    }
    ql_str_free(&text);
    if (!ql_bad(e) && h->count == 0) return ql_fail(QL_USAGE, "%s: names no host", file);
    return e;
}

ql_err ql_hosts_read(const char *list, const char *file, ql_hosts *out) {
    *out = (ql_hosts){0};
    QL_CHECK(!list || !file, QL_USAGE, "--hosts and --hostfile exclude each other");
    if (list) return read_list(list, out);
    return file ? read_file(file, out) : ql_ok();
}

int64_t ql_hosts_slots(const ql_hosts *h) {
    int64_t sum = 0;
    for (size_t i = 0; i < h->count; i++) sum += h->host[i].slots;
    return sum;
}

void ql_hosts_free(ql_hosts *h) {
    for (size_t i = 0; i < h->count; i++) free(h->host[i].name);
    free(h->host);
    *h = (ql_hosts){0};
}
