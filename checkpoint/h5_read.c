#include "checkpoint/h5_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pulse.h"

enum { TEXT_LIMIT = 1 << 20, SHOWN = 100 };
static const char CURE[] = "use another output_dir or resume_from_checkpoint: false";

static bool is_hard_link(hid_t group, const char *name) {
    H5L_info_t link;
    return H5Lget_info(group, name, &link, H5P_DEFAULT) >= 0 && link.type == H5L_TYPE_HARD;
}

/* Opens what a hard link of this very group names; anything but the expected kind is refused. */
static ql_err open_member(hid_t group, const char *name, H5I_type_t kind, hid_t *out) {
    *out = H5I_INVALID_HID;
    if (H5Lexists(group, name, H5P_DEFAULT) <= 0) return ql_h5_fail(QL_DATA, "%s: is missing", name);
    QL_CHECK(is_hard_link(group, name), QL_DATA, "%s: is a link that leads elsewhere", name);
    hid_t object = H5Oopen(group, name, H5P_DEFAULT);
    if (object < 0) return ql_h5_fail(QL_DATA, "%s: cannot be opened", name);
    if (H5Iget_type(object) == kind) {
        *out = object;
        return ql_ok();
    }
    H5Oclose(object);
    return ql_fail(QL_DATA, "%s: is not a %s", name, kind == H5I_GROUP ? "group" : "dataset");
}

static ql_err member_count(hid_t group, uint64_t *n) {
    H5G_info_t info;
    if (H5Gget_info(group, &info) < 0) return ql_h5_fail(QL_DATA, "its members cannot be listed");
    *n = info.nlinks;
    return ql_ok();
}

static ql_err read_number(hid_t file, const char *name, int64_t *out) {
    hid_t attribute = H5Aopen(file, name, H5P_DEFAULT), type = H5I_INVALID_HID, space = H5I_INVALID_HID;
    ql_err e = ql_ok();
    QL_H5_TRY_TO(out, e, attribute >= 0, QL_DATA, "%s: is missing", name);
    type = H5Aget_type(attribute);
    space = H5Aget_space(attribute);
    QL_H5_TRY_TO(out, e, type >= 0 && space >= 0, QL_DATA, "%s: cannot be read", name);
    if (H5Tequal(type, H5T_STD_I64LE) <= 0 || H5Sget_simple_extent_type(space) != H5S_SCALAR) {
        e = ql_fail(QL_DATA, "%s: is not one 64-bit integer", name);
        goto out;
    }
    QL_H5_TRY_TO(out, e, H5Aread(attribute, H5T_NATIVE_INT64, out) >= 0, QL_DATA, "%s: cannot be read", name);
    if (*out < 0) e = ql_fail(QL_DATA, "%s: is negative", name);
out:
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    if (attribute >= 0) H5Aclose(attribute);
    return e;
}

/* At most one filter, and that a checksum. */
static bool has_plain_filters(hid_t list) {
    unsigned flags = 0, config = 0;
    size_t values = 0;
    int n = H5Pget_nfilters(list);
    return n == 0 ||
           (n == 1 && H5Pget_filter2(list, 0, &flags, &values, NULL, 0, NULL, &config) == H5Z_FILTER_FLETCHER32);
}

/* The bytes that a complete matrix takes on disk in its layout: whole chunks of whole rows. 0: no layout of ours. */
static uint64_t stored_bytes(hid_t list, uint64_t rows, uint64_t cols, uint64_t element) {
    H5D_layout_t layout = H5Pget_layout(list);
    if (layout == H5D_CONTIGUOUS) return rows * cols * element;
    hsize_t chunk[2];
    if (layout != H5D_CHUNKED || H5Pget_chunk(list, 2, chunk) != 2) return 0;
    if (chunk[1] != cols || chunk[0] == 0 || chunk[0] > rows) return 0;
    return (rows + chunk[0] - 1) / chunk[0] * chunk[0] * cols * element;
}

/* Where the bytes of a dataset are: in this file, all of them, as they are or with a checksum. */
static ql_err check_storage(hid_t set, const char *name, uint64_t rows, uint64_t cols, uint64_t element) {
    hid_t list = H5Dget_create_plist(set);
    if (list < 0) return ql_h5_fail(QL_DATA, "%s: its layout cannot be read", name);
    bool inside = H5Pget_external_count(list) == 0, plain = has_plain_filters(list);
    uint64_t needed = stored_bytes(list, rows, cols, element);
    H5Pclose(list);
    QL_CHECK(inside, QL_DATA, "%s: its data would lie outside of the file", name);
    QL_CHECK(plain, QL_DATA, "%s: has a filter that a checkpoint never has", name);
    QL_CHECK(needed > 0, QL_DATA, "%s: has a layout that a checkpoint never has", name);
    /* What is not stored would be read as zeros without a word. */
    QL_CHECK(H5Dget_storage_size(set) >= needed, QL_DATA, "%s: is not stored completely", name);
    return ql_ok();
}

static ql_err check_shape(hid_t set, const ql_state_tensor *t) {
    hid_t space = H5Dget_space(set);
    if (space < 0) return ql_h5_fail(QL_DATA, "%s: its shape cannot be read", t->name);
    hsize_t dims[2] = {0, 0};
    int rank = H5Sget_simple_extent_ndims(space);
    bool known = rank == 2 && H5Sget_simple_extent_dims(space, dims, NULL) == 2;
    H5Sclose(space);
    QL_CHECK(rank == 2, QL_DATA, "%s: is not a matrix", t->name);
    QL_CHECK(known && dims[0] == (hsize_t)t->rows && dims[1] == (hsize_t)t->cols, QL_DATA,
             "%s: has the shape [%" PRIu64 ", %" PRIu64 "], this run's is [%" PRId64 ", %" PRId64 "]; %s", t->name,
             (uint64_t)dims[0], (uint64_t)dims[1], t->rows, t->cols, CURE);
    return ql_ok();
}

static ql_err check_array(hid_t set, const ql_state_tensor *t) {
    hid_t type = H5Dget_type(set);
    if (type < 0) return ql_h5_fail(QL_DATA, "%s: its type cannot be read", t->name);
    bool f32 = H5Tequal(type, H5T_IEEE_F32LE) > 0;
    H5Tclose(type);
    QL_CHECK(f32, QL_DATA, "%s: is not of little-endian 32-bit floats", t->name);
    QL_TRY(check_shape(set, t));
    return check_storage(set, t->name, (uint64_t)t->rows, (uint64_t)t->cols, sizeof(float));
}

static ql_err check_finite(const float *data, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        QL_CHECK(isfinite(data[i]), QL_DATA, "%s: element %zu is not a finite number", name, i);
    return ql_ok();
}

static ql_err read_array(hid_t group, const ql_state_tensor *t, float *buffer, const ql_h5_sink *sink) {
    const size_t n = (size_t)t->rows * (size_t)t->cols;
    hid_t set;
    QL_TRY(open_member(group, t->name, H5I_DATASET, &set));
    ql_err e = check_array(set, t);
    if (!ql_bad(e) && H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, buffer) < 0)
        e = ql_h5_fail(QL_DATA, "%s: cannot be read", t->name);
    H5Dclose(set);
    ql_pulse_beat();
    QL_TRY(e);
    QL_TRY(check_finite(buffer, n, t->name));
    return sink->array(sink->self, buffer, n);
}

/* With as many members as are expected, and each expected one there, there is no other. */
static ql_err check_array_group(hid_t group, const ql_state *s) {
    uint64_t n = 0;
    QL_TRY(member_count(group, &n));
    for (size_t i = 0; i < s->n_tensors; i++)
        QL_CHECK(H5Lexists(group, s->tensor[i].name, H5P_DEFAULT) > 0, QL_DATA,
                 "%s: is missing, though this run trains it; %s", s->tensor[i].name, CURE);
    QL_CHECK(n == s->n_tensors, QL_DATA, "holds %" PRIu64 " tensors, this run trains %zu; %s", n, s->n_tensors, CURE);
    return ql_ok();
}

static size_t largest_array(const ql_state *s) {
    size_t most = 1;
    for (size_t i = 0; i < s->n_tensors; i++) {
        size_t n = (size_t)s->tensor[i].rows * (size_t)s->tensor[i].cols;
        if (n > most) most = n;
    }
    return most;
}

static ql_err open_array_groups(hid_t file, const ql_state *s, hid_t group[QL_H5_ARRAYS]) {
    for (int which = 0; which < QL_H5_ARRAYS; which++) {
        const char *name = ql_h5_array_group[which];
        QL_TRY(open_member(file, name, H5I_GROUP, &group[which]));
        QL_TRY(ql_err_prefix(check_array_group(group[which], s), "%s", name));
    }
    return ql_ok();
}

static ql_err read_arrays(hid_t file, const ql_state *s, const ql_h5_sink *sink) {
    hid_t group[QL_H5_ARRAYS] = {H5I_INVALID_HID, H5I_INVALID_HID, H5I_INVALID_HID};
    float *buffer = NULL;
    ql_err e;
    QL_TRY_TO(out, e, open_array_groups(file, s, group));
    buffer = QL_NEW_ARRAY(float, largest_array(s));
    for (size_t i = 0; i < s->n_tensors; i++)
        for (int which = 0; which < QL_H5_ARRAYS; which++)
            QL_TRY_TO(
                out, e,
                ql_err_prefix(read_array(group[which], &s->tensor[i], buffer, sink), "%s", ql_h5_array_group[which]));
out:
    for (int which = 0; which < QL_H5_ARRAYS; which++)
        if (group[which] >= 0) H5Gclose(group[which]);
    free(buffer);
    return e;
}

/* Shows both texts from shortly before the place where they part, so that the difference is seen
 * in long ones too. */
static ql_err differs(const char *key, const char *theirs, const char *ours) {
    size_t same = 0;
    while (theirs[same] && theirs[same] == ours[same]) same++;
    size_t from = same < SHOWN / 2 ? 0 : same - SHOWN / 4;
    while (from > 0 && ((unsigned char)theirs[from] & 0xC0) == 0x80) from--; /* not inside a UTF-8 character */
    const char *dots = from ? "..." : "";
    return ql_fail(QL_USAGE, "%s is \"%s%.*s%s\" in the checkpoint and \"%s%.*s%s\" now; %s", key, dots, SHOWN,
                   theirs + from, strlen(theirs + from) > SHOWN ? "..." : "", dots, SHOWN, ours + from,
                   strlen(ours + from) > SHOWN ? "..." : "", CURE);
}

/* The size of a fixed-length string dataset, or QL_DATA. */
static ql_err text_size(hid_t set, const char *key, size_t *size) {
    hid_t type = H5Dget_type(set), space = H5Dget_space(set);
    bool good = type >= 0 && space >= 0 && H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0 &&
                H5Sget_simple_extent_type(space) == H5S_SCALAR;
    *size = good ? H5Tget_size(type) : 0;
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    QL_CHECK(good && *size > 0 && *size <= TEXT_LIMIT, QL_DATA, "%s: is not one text of fixed length", key);
    return check_storage(set, key, 1, 1, *size);
}

static ql_err read_text(hid_t group, const char *key, char **text) {
    hid_t set;
    size_t size = 0;
    *text = NULL;
    QL_TRY(open_member(group, key, H5I_DATASET, &set));
    ql_err e = text_size(set, key, &size);
    hid_t type = H5Dget_type(set);
    if (!ql_bad(e)) {
        *text = ql_alloc(size + 1);
        if (type < 0 || H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, *text) < 0)
            e = ql_h5_fail(QL_DATA, "%s: cannot be read", key);
    }
    if (type >= 0) H5Tclose(type);
    H5Dclose(set);
    return e;
}

static ql_err compare_text(hid_t group, const ql_identity *ours) {
    char *theirs;
    QL_CHECK(H5Lexists(group, ours->key, H5P_DEFAULT) > 0, QL_USAGE,
             "%s is \"%.100s\" now and not known to the checkpoint; %s", ours->key, ours->value, CURE);
    ql_err e = read_text(group, ours->key, &theirs);
    if (!ql_bad(e) && strcmp(theirs, ours->value) != 0) e = differs(ours->key, theirs, ours->value);
    free(theirs);
    return e;
}

static bool is_expected_key(const ql_state *s, const char *key) {
    for (size_t i = 0; i < s->n_identity; i++)
        if (!strcmp(s->identity[i].key, key)) return true;
    return false;
}

static ql_err refuse_unknown_key(hid_t group, const ql_state *s, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        char key[256] = "";
        ssize_t size = H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, i, key, sizeof key, H5P_DEFAULT);
        if (size < 0) return ql_h5_fail(QL_DATA, "its keys cannot be listed");
        QL_CHECK(is_expected_key(s, key), QL_USAGE,
                 "the checkpoint depends on \"%s\", which this run does not know; %s", key, CURE);
    }
    return ql_ok();
}

static ql_err check_identity(hid_t file, const ql_state *s) {
    hid_t group;
    uint64_t n = 0;
    QL_TRY(open_member(file, QL_H5_IDENTITY_GROUP, H5I_GROUP, &group));
    ql_err e = member_count(group, &n);
    for (size_t i = 0; i < s->n_identity && !ql_bad(e); i++) e = compare_text(group, &s->identity[i]);
    if (!ql_bad(e) && n != s->n_identity) e = refuse_unknown_key(group, s, n);
    H5Gclose(group);
    return e;
}

static bool has_counter(hid_t file, ql_counter which) {
    return H5Aexists(file, ql_h5_counter[which]) > 0;
}

static ql_err read_counters(hid_t file, int64_t counter[QL_COUNTERS]) {
    bool scaled = has_counter(file, QL_COUNT_LOSS_SCALE);
    for (int i = 0; i < QL_COUNTERS; i++) {
        bool needed = i < QL_COUNTERS_ALWAYS || (i == QL_COUNT_LOSS_SCALE_STEPS && scaled);
        counter[i] = QL_NO_COUNT;
        if (needed || has_counter(file, (ql_counter)i)) QL_TRY(read_number(file, ql_h5_counter[i], &counter[i]));
    }
    return ql_ok();
}

/* The text of an attribute that holds one string of fixed length, and nothing that could upset a terminal. */
static ql_err read_short_text(hid_t attribute, char text[QL_DEVICE_TEXT]) {
    hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    bool good = type >= 0 && space >= 0 && H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0 &&
                H5Sget_simple_extent_type(space) == H5S_SCALAR && H5Tget_size(type) < QL_DEVICE_TEXT &&
                H5Aread(attribute, type, text) >= 0;
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    for (size_t i = 0; good && text[i]; i++) good = (unsigned char)text[i] >= ' ' && text[i] != 0x7f;
    return good ? ql_ok() : ql_h5_fail(QL_DATA, QL_H5_DEVICE_NAME ": is not one short text");
}

static ql_err read_device(hid_t file, char text[QL_DEVICE_TEXT]) {
    memset(text, 0, QL_DEVICE_TEXT);
    if (H5Aexists(file, QL_H5_DEVICE_NAME) <= 0) return ql_ok();
    hid_t attribute = H5Aopen(file, QL_H5_DEVICE_NAME, H5P_DEFAULT);
    if (attribute < 0) return ql_h5_fail(QL_DATA, QL_H5_DEVICE_NAME ": cannot be read");
    ql_err e = read_short_text(attribute, text);
    H5Aclose(attribute);
    return e;
}

static ql_err read_all(hid_t file, const ql_state *s, const ql_h5_sink *sink) {
    int64_t version, counter[QL_COUNTERS];
    uint64_t members = 0;
    char device[QL_DEVICE_TEXT];
    QL_TRY(read_number(file, QL_H5_VERSION_NAME, &version));
    QL_CHECK(version == QL_STATE_VERSION, QL_DATA, "has format version %" PRId64 ", this program reads %d", version,
             QL_STATE_VERSION);
    QL_TRY(member_count(file, &members));
    QL_CHECK(members == QL_H5_ARRAYS + 1, QL_DATA, "holds %" PRIu64 " groups instead of %d", members, QL_H5_ARRAYS + 1);
    QL_TRY(check_identity(file, s));
    QL_TRY(read_device(file, device));
    QL_TRY(sink->computed_on(sink->self, device));
    QL_TRY(read_counters(file, counter));
    QL_TRY(sink->counters(sink->self, counter));
    return read_arrays(file, s, sink);
}

ql_err ql_h5_read(const char *path, const ql_state *s, const ql_h5_sink *sink) {
    QL_TRY(ql_h5_init());
    hid_t access = ql_h5_access();
    hid_t file = access < 0 ? H5I_INVALID_HID : H5Fopen(path, H5F_ACC_RDONLY, access);
    if (file >= 0 && sink->opened) sink->opened(sink->self);
    ql_err e = file < 0 ? ql_h5_fail(QL_DATA, "cannot be opened as HDF5") : read_all(file, s, sink);
    if (file >= 0) H5Fclose(file);
    if (access >= 0) H5Pclose(access);
    return ql_err_prefix(e, "%s", path);
}
