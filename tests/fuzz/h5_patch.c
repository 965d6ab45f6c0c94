#include "tests/fuzz/h5_patch.h"

#include <hdf5.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* ---- the checksum of HDF5's metadata: Bob Jenkins' lookup3 ------------------------------- */

static uint32_t rotated(uint32_t x, int k) {
    return x << k | x >> (32 - k);
}

static void mix(uint32_t v[3]) {
    static const int turn[6] = {4, 6, 8, 16, 19, 4};
    for (int i = 0; i < 6; i++) {
        uint32_t *a = &v[i % 3], *b = &v[(i + 1) % 3], *c = &v[(i + 2) % 3];
        *a -= *c;
        *a ^= rotated(*c, turn[i]);
        *c += *b;
    }
}

static void finish(uint32_t v[3]) {
    static const int turn[7] = {14, 11, 25, 16, 4, 14, 24};
    for (int i = 0; i < 7; i++) {
        uint32_t *c = &v[(i + 2) % 3], *b = &v[(i + 1) % 3];
        *c ^= *b;
        *c -= rotated(*b, turn[i]);
    }
}

static uint32_t checksum(const uint8_t *bytes, size_t n) {
    uint32_t v[3], word[3];
    v[0] = v[1] = v[2] = 0xdeadbeef + (uint32_t)n;
    for (; n > 12; n -= 12, bytes += 12) {
        memcpy(word, bytes, 12);
        for (int i = 0; i < 3; i++) v[i] += word[i];
        mix(v);
    }
    if (n == 0) return v[2];
    memset(word, 0, sizeof word);
    memcpy(word, bytes, n);
    for (int i = 0; i < 3; i++) v[i] += word[i];
    finish(v);
    return v[2];
}

/* ---- where metadata is ------------------------------------------------------------------- */

static void add_range(h5_subject *s, size_t from, size_t to, bool summed) {
    if (to <= from) return;
    h5_range r = {from, to, summed};
    QL_PUSH(s->range, s->n, s->capacity, r);
    s->total += to - from;
}

/* The end of a block that begins here and is followed by its checksum; 0: none does. */
static size_t summed_end(const ql_str *s, size_t from) {
    enum { LONGEST = 4096 };
    for (size_t to = from + 8; to + 4 <= s->size && to - from <= LONGEST; to++) {
        uint32_t kept;
        memcpy(&kept, s->data + to, 4);
        if (kept == checksum((const uint8_t *)s->data + from, to - from)) return to;
    }
    return 0;
}

static void find_summed(h5_subject *s) {
    static const char *const signature[] = {"\211HDF", "OHDR", "OCHK", "FRHP", "FHDB", "FHIB", "BTHD", "BTIN", "BTLF"};
    for (size_t at = 0; at + 4 <= s->bytes.size; at++)
        for (size_t i = 0; i < QL_LEN(signature); i++) {
            size_t end = memcmp(s->bytes.data + at, signature[i], 4) ? 0 : summed_end(&s->bytes, at);
            if (end) add_range(s, at, end, true);
        }
}

static int by_place(const void *a, const void *b) {
    const h5_range *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

typedef struct {
    h5_range *at;
    size_t    n, capacity;
} places;

static herr_t note_data(hid_t file, const char *name, const H5O_info_t *info, void *list) {
    places *data = list;
    if (info->type != H5O_TYPE_DATASET) return 0;
    hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    haddr_t at = H5Dget_offset(set);
    hsize_t size = H5Dget_storage_size(set), chunks = 0;
    hid_t space = H5Dget_space(set), layout = H5Dget_create_plist(set);
    bool is_chunked = H5Pget_layout(layout) == H5D_CHUNKED && H5Dget_num_chunks(set, space, &chunks) >= 0 && chunks == 1;
    if (is_chunked) H5Dget_chunk_info(set, space, 0, NULL, NULL, &at, &size);
    h5_range r = {at, at + size, false};
    if (at != HADDR_UNDEF) QL_PUSH(data->at, data->n, data->capacity, r);
    H5Pclose(layout), H5Sclose(space), H5Dclose(set);
    return 0;
}

/* Nodes have room for many entries: what is empty of them is left out. */
static void add_used(h5_subject *s, size_t from, size_t to) {
    enum { EMPTY = 32 };
    size_t zeros = 0;
    for (size_t at = from; at < to; at++) {
        zeros = s->bytes.data[at] ? 0 : zeros + 1;
        if (zeros == EMPTY) add_range(s, from, at - EMPTY + 1, false);
        if (zeros >= EMPTY) from = at + 1;
    }
    add_range(s, from, to, false);
}

static void find_the_rest_of_data(h5_subject *s, const char *path) {
    places data = {0};
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    H5Ovisit(file, H5_INDEX_NAME, H5_ITER_NATIVE, note_data, &data);
    H5Fclose(file);
    if (data.n) qsort(data.at, data.n, sizeof *data.at, by_place);
    size_t from = 0;
    for (size_t i = 0; i < data.n; from = data.at[i++].to) add_used(s, from, data.at[i].from);
    add_used(s, from, s->bytes.size);
    free(data.at);
}

bool h5_subject_open(const char *path, h5_subject *out) {
    *out = (h5_subject){0};
    if (ql_bad(ql_file_read(path, 1 << 20, &out->bytes))) return false;
    find_summed(out);
    if (out->n == 0) find_the_rest_of_data(out, path);
    return out->total > 0;
}

void h5_subject_close(h5_subject *s) {
    ql_str_free(&s->bytes);
    free(s->range);
}

/* ---- changes ------------------------------------------------------------------------------ */

static size_t place_of(const h5_subject *s, size_t k) {
    size_t i = 0;
    for (k %= s->total; k >= s->range[i].to - s->range[i].from; i++) k -= s->range[i].to - s->range[i].from;
    return s->range[i].from + k;
}

static void change(const h5_subject *s, const uint8_t record[8], ql_str *out) {
    uint16_t where;
    uint32_t value;
    memcpy(&where, record, 2);
    memcpy(&value, record + 4, 4);
    size_t at = place_of(s, where), width = (size_t)1 << record[2] % 4;
    uint64_t now = 0, with = (uint64_t)(int64_t)(int32_t)value;
    if (at + width > out->size) return;
    memcpy(&now, out->data + at, width);
    now = record[3] % 3 == 0 ? with : record[3] % 3 == 1 ? now + with : now ^ with;
    memcpy(out->data + at, &now, width);
}

void h5_patch(const h5_subject *s, const uint8_t *patch, size_t n, ql_str *out) {
    out->size = 0;
    ql_str_put(out, s->bytes.data, s->bytes.size);
    for (size_t i = 0; i + 8 <= n; i += 8) change(s, patch + i, out);
    for (size_t i = 0; i < s->n; i++) {
        if (!s->range[i].summed) continue;
        uint32_t sum = checksum((const uint8_t *)out->data + s->range[i].from, s->range[i].to - s->range[i].from);
        memcpy(out->data + s->range[i].to, &sum, 4);
    }
}
