#include "checkpoint/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/pulse.h"

static const char FORMAT[] = "qlora-checkpoint";
enum { MANIFEST_LIMIT = 1 << 20, FILES_LIMIT = 64, PIECE = 1 << 20 };

/* Opens a regular file of the folder without following a symbolic link at its place. */
static ql_err open_regular(const char *path, int *fd, uint64_t *size) {
    *fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0 && errno == ELOOP)
        return ql_fail(QL_DENIED, "%s: is a symbolic link, which a checkpoint never holds; put the file itself there",
                       path);
    if (*fd < 0) return ql_err_as(ql_fail_errno("%s: cannot be opened", path), errno == ENOENT ? QL_DATA : QL_IO);
    struct stat st;
    if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(*fd);
        return ql_fail(QL_DATA, "%s: is not a regular file", path);
    }
    *size = (uint64_t)st.st_size;
    return ql_ok();
}

/* Reads at most n bytes, and fewer only at the end of the file. */
static ql_err read_some(int fd, void *bytes, size_t n, size_t *got, const char *path) {
    for (*got = 0; *got < n;) {
        ssize_t m = read(fd, (char *)bytes + *got, n - *got);
        if (m < 0 && errno == EINTR) continue;
        if (m < 0) return ql_fail_errno("%s: cannot be read", path);
        if (m == 0) break;
        *got += (size_t)m;
    }
    return ql_ok();
}

static ql_err digest_of(int fd, const char *path, ql_sha256 *digest) {
    char *piece = ql_alloc(PIECE);
    ql_hasher *h = ql_hasher_open();
    ql_err e;
    for (size_t got = PIECE; got == PIECE;) {
        QL_TRY_TO(out, e, read_some(fd, piece, PIECE, &got, path));
        ql_hasher_add(h, piece, got);
        ql_pulse_beat();
    }
out:
    *digest = ql_hasher_close(h);
    free(piece);
    return e;
}

static ql_err measure(const char *path, uint64_t *size, ql_sha256 *digest) {
    int fd;
    QL_TRY(open_regular(path, &fd, size));
    ql_err e = digest_of(fd, path, digest);
    close(fd);
    return e;
}

static void append(ql_manifest *m, ql_manifest_file file) {
    QL_PUSH(m->file, m->n, m->capacity, file);
}

ql_err ql_manifest_add(ql_manifest *m, const char *folder, const char *name) {
    ql_manifest_file f = {0};
    char *path = ql_path_join(folder, name);
    ql_err e = measure(path, &f.size, &f.digest);
    free(path);
    QL_TRY(e);
    f.name = ql_strdup(name);
    append(m, f);
    return ql_ok();
}

ql_err ql_manifest_write(const ql_manifest *m, const char *folder) {
    ql_str text = {0};
    char hex[65];
    ql_str_printf(&text, "{\n  \"format\": \"%s\",\n  \"version\": %d,\n  \"step\": %" PRId64 ",\n  \"files\": [",
                  FORMAT, QL_MANIFEST_VERSION, m->step);
    for (size_t i = 0; i < m->n; i++) {
        ql_sha256_text(&m->file[i].digest, hex);
        ql_str_printf(&text, "%s\n    {\"name\": \"%s\", \"size\": %" PRIu64 ", \"sha256\": \"%s\"}", i ? "," : "",
                      m->file[i].name, m->file[i].size, hex);
    }
    ql_str_puts(&text, "\n  ]\n}\n");
    char *path = ql_path_join(folder, QL_MANIFEST_NAME);
    ql_err e = ql_file_replace(path, text.data, text.size);
    free(path);
    ql_str_free(&text);
    return e;
}

static bool digest_from(const char *hex, size_t size, ql_sha256 *out) {
    static const char digits[] = "0123456789abcdef";
    if (size != 64 || strspn(hex, digits) != 64) return false;
    for (int i = 0; i < 32; i++)
        out->byte[i] =
            (uint8_t)((strchr(digits, hex[2 * i]) - digits) << 4 | (strchr(digits, hex[2 * i + 1]) - digits));
    return true;
}

static const ql_manifest_file *find(const ql_manifest *m, const char *name) {
    for (size_t i = 0; i < m->n; i++)
        if (!strcmp(m->file[i].name, name)) return &m->file[i];
    return NULL;
}

static ql_err parse_file(const ql_json *v, const char *path, ql_manifest *m) {
    ql_manifest_file f = {0};
    size_t name_size = 0, hex_size = 0;
    const char *name = ql_json_text(ql_json_get(v, "name"), &name_size);
    const char *hex = ql_json_text(ql_json_get(v, "sha256"), &hex_size);
    int64_t size = ql_json_int(ql_json_get(v, "size"), -1);
    QL_CHECK(name, QL_DATA, "%s: has a file without a name", path);
    QL_CHECK(ql_name_is_plain(name, name_size), QL_DENIED,
             "%s: names a file that is no plain name in its folder; do not use this checkpoint", path);
    QL_CHECK(!find(m, name) && strcmp(name, QL_MANIFEST_NAME) != 0, QL_DATA, "%s: names \"%s\" twice", path, name);
    QL_CHECK(size >= 0 && hex && digest_from(hex, hex_size, &f.digest), QL_DATA,
             "%s: has no valid size and sha256 of \"%s\"", path, name);
    f.size = (uint64_t)size;
    f.name = ql_strdup(name);
    append(m, f);
    return ql_ok();
}

static ql_err parse(const ql_json *v, const char *path, ql_manifest *m) {
    const char *format = ql_json_text(ql_json_get(v, "format"), NULL);
    QL_CHECK(format && !strcmp(format, FORMAT), QL_DATA, "%s: is not the manifest of a checkpoint", path);
    int64_t version = ql_json_int(ql_json_get(v, "version"), 0);
    QL_CHECK(version == QL_MANIFEST_VERSION, QL_DATA,
             "%s: has format version %" PRId64 ", this program reads %d; use the program that wrote it", path, version,
             QL_MANIFEST_VERSION);
    m->step = ql_json_int(ql_json_get(v, "step"), -1);
    QL_CHECK(m->step >= 0, QL_DATA, "%s: has no valid step", path);
    const ql_json *files = ql_json_get(v, "files");
    QL_CHECK(ql_json_is(files, QL_JSON_ARRAY) && ql_json_size(files) >= 1 && ql_json_size(files) <= FILES_LIMIT,
             QL_DATA, "%s: has no valid list of files", path);
    for (size_t i = 0; i < ql_json_size(files); i++) QL_TRY(parse_file(ql_json_at(files, i), path, m));
    return ql_ok();
}

static ql_err read_text(const char *path, ql_str *text) {
    int fd;
    uint64_t size = 0;
    size_t got = 0;
    QL_TRY(open_regular(path, &fd, &size));
    ql_err e = ql_ok();
    if (size > MANIFEST_LIMIT) {
        e = ql_fail(QL_DATA, "%s: is larger than any manifest", path);
    } else {
        ql_str_reserve(text, size);
        e = read_some(fd, text->data, size, &got, path);
        text->size = got;
    }
    close(fd);
    return e;
}

ql_err ql_manifest_read(const char *folder, ql_manifest *out) {
    *out = (ql_manifest){0};
    ql_str text = {0};
    ql_json *v = NULL;
    char *path = ql_path_join(folder, QL_MANIFEST_NAME);
    ql_err e;
    QL_TRY_TO(out, e, read_text(path, &text));
    QL_TRY_TO(out, e, ql_json_parse(text.data, text.size, path, 1, &v));
    QL_TRY_TO(out, e, parse(v, path, out));
out:
    if (v) ql_json_free(v);
    ql_str_free(&text);
    free(path);
    if (ql_bad(e)) ql_manifest_free(out);
    return e;
}

void ql_manifest_free(ql_manifest *m) {
    for (size_t i = 0; i < m->n; i++) free(m->file[i].name);
    free(m->file);
    *m = (ql_manifest){0};
}

static ql_err check_size(const ql_manifest_file *f, uint64_t size, const char *path) {
    if (size == f->size) return ql_ok();
    return ql_fail(QL_DATA,
                   "%s: has %" PRIu64 " bytes instead of %" PRIu64 "; it was cut or changed after it was saved", path,
                   size, f->size);
}

/* What memory cannot hold is no state of ours, and its digest would take as long as somebody likes: a file of any size is made
 * in no time where it has holes. */
static ql_err check_plausible(uint64_t size, const char *path) {
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    QL_CHECK(size <= memory, QL_DATA, "%s: has %" PRIu64 " bytes, more than this machine's memory, and can be no part of a checkpoint", path,
             size);
    return ql_ok();
}

static ql_err check_file(const ql_manifest_file *f, const char *path, bool with_digest) {
    int fd;
    uint64_t size = 0;
    ql_sha256 digest = {0};
    QL_TRY(open_regular(path, &fd, &size));
    ql_err e = check_size(f, size, path);
    if (!ql_bad(e) && with_digest) e = check_plausible(size, path);
    if (!ql_bad(e) && with_digest) e = digest_of(fd, path, &digest);
    close(fd);
    QL_TRY(e);
    QL_CHECK(!with_digest || ql_sha256_equal(&digest, &f->digest), QL_DATA,
             "%s: its SHA-256 is not the one in " QL_MANIFEST_NAME "; it was changed or damaged after it was saved",
             path);
    return ql_ok();
}

static ql_err check_at(const ql_manifest_file *f, const char *folder, bool with_digest) {
    char *path = ql_path_join(folder, f->name);
    ql_err e = check_file(f, path, with_digest);
    free(path);
    return e;
}

ql_err ql_manifest_check_sizes(const ql_manifest *m, const char *folder) {
    for (size_t i = 0; i < m->n; i++) QL_TRY(check_at(&m->file[i], folder, false));
    return ql_ok();
}

ql_err ql_manifest_lists(const ql_manifest *m, const char *folder, const char *name) {
    QL_CHECK(find(m, name), QL_DATA, "%s/" QL_MANIFEST_NAME ": does not list %s", folder, name);
    return ql_ok();
}

ql_err ql_manifest_check(const ql_manifest *m, const char *folder, const char *only) {
    if (only) QL_TRY(ql_manifest_lists(m, folder, only));
    for (size_t i = 0; i < m->n; i++)
        if (!only || !strcmp(only, m->file[i].name)) QL_TRY(check_at(&m->file[i], folder, true));
    return ql_ok();
}

bool ql_manifest_equal(const ql_manifest *a, const ql_manifest *b) {
    if (a->step != b->step || a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++) {
        const ql_manifest_file *other = find(b, a->file[i].name);
        if (!other || other->size != a->file[i].size || !ql_sha256_equal(&other->digest, &a->file[i].digest))
            return false;
    }
    return true;
}
