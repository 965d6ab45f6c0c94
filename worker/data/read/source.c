#include "worker/data/read/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { STEP = 256 << 10 }; /* bytes unpacked at once */

static const ql_unpacker *const unpacker[] = {&ql_unpack_gzip, &ql_unpack_zstd, &ql_unpack_pzstd};

static const ql_unpacker *unpacker_of(const ql_map *m) {
    for (size_t i = 0; i < QL_LEN(unpacker); i++)
        if (m->size >= unpacker[i]->magic_size && memcmp(m->data, unpacker[i]->magic, unpacker[i]->magic_size) == 0) return unpacker[i];
    return NULL;
}

/* Pipes and devices have no size, and cannot be read twice. */
static ql_err check_kind(const char *path) {
    struct stat st;
    bool there = stat(path, &st) == 0;
    QL_CHECK(!there || S_ISREG(st.st_mode), QL_DATA, "%s: is not a regular file; write the records into one first", path);
    QL_CHECK(there || errno != ENOENT, QL_DATA, "%s: cannot be opened: there is no such file; look at it with ls", path);
    QL_CHECK(there || errno != ELOOP, QL_DATA, "%s: cannot be opened: its symbolic links lead in a circle; remove them", path);
    return ql_ok();
}

ql_err ql_source_open(const char *path, ql_source *out) {
    *out = (ql_source){0};
    QL_TRY(check_kind(path));
    QL_TRY(ql_map_open(path, &out->map));
    out->unpacker = unpacker_of(&out->map);
    if (out->unpacker) {
        out->state = out->unpacker->open();
        return ql_ok();
    }
    out->data = out->map.data;
    out->size = out->map.size;
    out->ended = true;
    return ql_ok();
}

void ql_source_close(ql_source *s) {
    if (s->unpacker) s->unpacker->close(s->state);
    ql_str_free(&s->window);
    free(s->problem);
    ql_map_close(&s->map);
    *s = (ql_source){0};
}

static ql_err check_ratio(const ql_source *s) {
    QL_CHECK(s->unpacked <= QL_BOMB_BYTES || s->unpacked / QL_BOMB_RATIO <= s->read, QL_DATA,
             "%zu bytes of %s data have become %llu, more than %d to 1, which no text does; unpack the file first if it is meant",
             s->read, s->unpacker->name, (unsigned long long)s->unpacked, QL_BOMB_RATIO);
    return ql_ok();
}

/* Fills the room behind the window. A mistake is kept for the next call, so that the text before it comes first. */
static void unpack(ql_source *s) {
    ql_unpacking u = {s->map.data + s->read, s->map.size - s->read, (uint8_t *)s->window.data + s->window.size, STEP};
    ql_err       e = s->unpacker->run(s->state, &u);
    if (ql_bad(e)) s->problem = ql_strdup(ql_err_text());
    s->ended = !ql_bad(e) && u.room > 0;
    s->read = s->map.size - u.in_size;
    s->unpacked += STEP - u.room;
    s->window.size += STEP - u.room;
}

ql_err ql_source_more(ql_source *s, size_t gone) {
    QL_CHECK(!s->problem, QL_DATA, "%s", s->problem);
    if (gone > 0) memmove(s->window.data, s->window.data + gone, s->size - gone);
    s->window.size = s->size - gone;
    ql_str_reserve(&s->window, STEP);
    unpack(s);
    s->size = s->window.size;
    s->data = (const uint8_t *)s->window.data;
    return check_ratio(s);
}

void ql_source_release(ql_source *s, size_t used) {
    size_t until = s->unpacker ? s->read : used;
    if (until <= s->released) return;
    ql_map_release(&s->map, s->released, until - s->released);
    s->released = until;
}

double ql_source_part(const ql_source *s, size_t used) {
    return (double)(s->unpacker ? s->read : used) / (double)s->map.size;
}

ql_err ql_source_check_unchanged(const ql_source *s) {
    const ql_file_mark *then = &s->map.mark;
    ql_file_mark        now;
    QL_CHECK(ql_file_mark_read(s->map.path, &now), QL_DATA, "%s: was removed while it was being read; put it back and start again", s->map.path);
    QL_CHECK(now.inode == then->inode && now.size == then->size && now.modified == then->modified, QL_DATA,
             "%s: was changed while it was being read (%llu bytes then, %llu now); start again when nothing writes to it", s->map.path,
             (unsigned long long)then->size, (unsigned long long)now.size);
    return ql_ok();
}
