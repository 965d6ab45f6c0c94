#include "checkpoint/h5_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/pulse.h"

/* The same state gives the same bytes, so no object carries times. */
static hid_t without_times(hid_t class_of_list) {
    hid_t list = H5Pcreate(class_of_list);
    if (list < 0 || H5Pset_obj_track_times(list, 0) >= 0) return list;
    H5Pclose(list);
    return H5I_INVALID_HID;
}

/* One chunk for the whole array, so that it can carry a checksum; rows are split only where the
 * format's 4 GiB for a chunk would be exceeded. */
static ql_err array_layout(hid_t list, const ql_state_tensor *t) {
    const uint64_t limit = 1u << 30; /* bytes */
    uint64_t row = (uint64_t)t->cols * sizeof(float);
    uint64_t rows = row >= limit ? 1 : limit / row;
    hsize_t chunk[2] = {(uint64_t)t->rows < rows ? (uint64_t)t->rows : rows, (hsize_t)t->cols};
    if (H5Pset_chunk(list, 2, chunk) < 0 || H5Pset_fletcher32(list) < 0 ||
        H5Pset_fill_time(list, H5D_FILL_TIME_NEVER) < 0)
        return ql_h5_fail(QL_IO, "%s: its layout cannot be set", t->name);
    return ql_ok();
}

/* Closes a dataset with what belongs to it; a full disk may show only here. */
static bool closed(hid_t set, hid_t space, hid_t list) {
    bool good = set < 0 || H5Dclose(set) >= 0;
    if (space >= 0) good = H5Sclose(space) >= 0 && good;
    if (list >= 0) good = H5Pclose(list) >= 0 && good;
    return good;
}

static ql_err write_array(hid_t group, const ql_state_tensor *t, const float *data) {
    hsize_t dims[2] = {(hsize_t)t->rows, (hsize_t)t->cols};
    hid_t space = H5Screate_simple(2, dims, NULL);
    hid_t list = without_times(H5P_DATASET_CREATE);
    hid_t set = H5I_INVALID_HID;
    ql_err e = ql_ok();
    QL_H5_TRY_TO(out, e, space >= 0 && list >= 0, QL_IO, "%s", t->name);
    QL_TRY_TO(out, e, array_layout(list, t));
    set = H5Dcreate2(group, t->name, H5T_IEEE_F32LE, space, H5P_DEFAULT, list, H5P_DEFAULT);
    QL_H5_TRY_TO(out, e, set >= 0, QL_IO, "%s: cannot be created", t->name);
    QL_H5_TRY_TO(out, e, H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0, QL_IO,
                 "%s: cannot be written", t->name);
out:
    if (!closed(set, space, list) && !ql_bad(e)) e = ql_h5_fail(QL_IO, "%s: cannot be written", t->name);
    ql_pulse_beat();
    return e;
}

static hid_t create_group(hid_t file, const char *name) {
    hid_t list = without_times(H5P_GROUP_CREATE);
    if (list < 0) return list;
    hid_t group = H5Gcreate2(file, name, H5P_DEFAULT, list, H5P_DEFAULT);
    H5Pclose(list);
    return group;
}

static ql_err write_arrays(hid_t file, const ql_state *s, int which) {
    const char *name = ql_h5_array_group[which];
    hid_t group = create_group(file, name);
    if (group < 0) return ql_h5_fail(QL_IO, "%s: cannot be created", name);
    ql_err e = ql_ok();
    for (size_t i = 0; i < s->n_tensors && !ql_bad(e); i++)
        e = ql_err_prefix(write_array(group, &s->tensor[i], ql_h5_array(&s->tensor[i], which)), "%s", name);
    if (H5Gclose(group) < 0 && !ql_bad(e)) e = ql_h5_fail(QL_IO, "%s: cannot be written", name);
    return e;
}

/* A string of exactly this many bytes, padded with NUL where it is empty. */
static hid_t text_type(const char *value) {
    hid_t type = H5Tcopy(H5T_C_S1);
    size_t n = strlen(value);
    if (type < 0) return type;
    if (H5Tset_size(type, n ? n : 1) >= 0 && H5Tset_strpad(type, H5T_STR_NULLPAD) >= 0 &&
        H5Tset_cset(type, H5T_CSET_UTF8) >= 0)
        return type;
    H5Tclose(type);
    return H5I_INVALID_HID;
}

static ql_err write_text(hid_t group, const ql_identity *id) {
    hid_t type = text_type(id->value), space = H5Screate(H5S_SCALAR);
    hid_t list = without_times(H5P_DATASET_CREATE), set = H5I_INVALID_HID;
    ql_err e = ql_ok();
    QL_H5_TRY_TO(out, e, type >= 0 && space >= 0 && list >= 0, QL_IO, "%s", id->key);
    set = H5Dcreate2(group, id->key, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    QL_H5_TRY_TO(out, e, set >= 0 && H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, id->value) >= 0, QL_IO,
                 "%s: cannot be written", id->key);
out:
    if (!closed(set, space, list) && !ql_bad(e)) e = ql_h5_fail(QL_IO, "%s: cannot be written", id->key);
    if (type >= 0) H5Tclose(type);
    return e;
}

static ql_err write_identity(hid_t file, const ql_state *s) {
    hid_t group = create_group(file, QL_H5_IDENTITY_GROUP);
    if (group < 0) return ql_h5_fail(QL_IO, QL_H5_IDENTITY_GROUP ": cannot be created");
    ql_err e = ql_ok();
    for (size_t i = 0; i < s->n_identity && !ql_bad(e); i++) e = write_text(group, &s->identity[i]);
    if (H5Gclose(group) < 0 && !ql_bad(e)) e = ql_h5_fail(QL_IO, QL_H5_IDENTITY_GROUP ": cannot be written");
    return e;
}

static ql_err write_number(hid_t file, const char *name, int64_t value) {
    hid_t space = H5Screate(H5S_SCALAR), attribute = H5I_INVALID_HID;
    bool good = space >= 0;
    if (good) attribute = H5Acreate2(file, name, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT);
    good = attribute >= 0 && H5Awrite(attribute, H5T_NATIVE_INT64, &value) >= 0;
    if (attribute >= 0) good = H5Aclose(attribute) >= 0 && good;
    if (space >= 0) H5Sclose(space);
    return good ? ql_ok() : ql_h5_fail(QL_IO, "%s: cannot be written", name);
}

static ql_err write_device(hid_t file, const char *text) {
    hid_t type = text_type(text), space = H5Screate(H5S_SCALAR), attribute = H5I_INVALID_HID;
    bool good = type >= 0 && space >= 0;
    if (good) attribute = H5Acreate2(file, QL_H5_DEVICE_NAME, type, space, H5P_DEFAULT, H5P_DEFAULT);
    good = attribute >= 0 && H5Awrite(attribute, type, text) >= 0;
    if (attribute >= 0) good = H5Aclose(attribute) >= 0 && good;
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    return good ? ql_ok() : ql_h5_fail(QL_IO, QL_H5_DEVICE_NAME ": cannot be written");
}

static ql_err write_all(hid_t file, const ql_state *s) {
    QL_TRY(write_number(file, QL_H5_VERSION_NAME, QL_STATE_VERSION));
    if (s->computed_on[0]) QL_TRY(write_device(file, s->computed_on));
    for (int i = 0; i < QL_COUNTERS; i++)
        if (s->counter[i] != QL_NO_COUNT) QL_TRY(write_number(file, ql_h5_counter[i], s->counter[i]));
    QL_TRY(write_identity(file, s));
    for (int which = 0; which < QL_H5_ARRAYS; which++) QL_TRY(write_arrays(file, s, which));
    if (H5Fflush(file, H5F_SCOPE_GLOBAL) < 0) return ql_h5_fail(QL_IO, "cannot be written");
    return ql_ok();
}

/* Names become links of one group, where '/' would mean another group. */
static ql_err check_names(const ql_state *s) {
    for (size_t i = 0; i < s->n_tensors; i++) {
        const ql_state_tensor *t = &s->tensor[i];
        QL_CHECK(t->name[0] && strcmp(t->name, ".") != 0 && !strchr(t->name, '/'), QL_BUG,
                 "\"%s\": no name for a tensor", t->name);
        QL_CHECK(t->rows > 0 && t->cols > 0, QL_BUG, "%s: an empty tensor", t->name);
    }
    for (size_t i = 0; i < s->n_identity; i++) {
        const char *key = s->identity[i].key;
        QL_CHECK(key[0] && strcmp(key, ".") != 0 && !strchr(key, '/'), QL_BUG, "\"%s\": no name for a key", key);
    }
    return ql_ok();
}

static ql_err write_file(const char *path, const ql_state *s) {
    hid_t access = ql_h5_access(), create = without_times(H5P_FILE_CREATE), file = H5I_INVALID_HID;
    ql_err e = ql_ok();
    QL_H5_TRY_TO(out, e, access >= 0 && create >= 0, QL_IO, "cannot be created");
    file = H5Fcreate(path, H5F_ACC_EXCL, create, access);
    QL_H5_TRY_TO(out, e, file >= 0, QL_IO, "cannot be created");
    e = write_all(file, s);
    if (H5Fclose(file) < 0 && !ql_bad(e)) e = ql_h5_fail(QL_IO, "cannot be written");
out:
    if (create >= 0) H5Pclose(create);
    if (access >= 0) H5Pclose(access);
    return e;
}

ql_err ql_h5_write(const char *path, const ql_state *s) {
    QL_TRY(check_names(s));
    QL_TRY(ql_h5_init());
    return ql_err_prefix(write_file(path, s), "%s", path);
}

uint64_t ql_h5_size_bound(const ql_state *s) {
    const uint64_t around_array = 8 << 10, around_text = 1 << 10, around_file = 64 << 10;
    uint64_t n = around_file;
    for (size_t i = 0; i < s->n_tensors; i++)
        n += QL_H5_ARRAYS * ((uint64_t)s->tensor[i].rows * (uint64_t)s->tensor[i].cols * sizeof(float) + around_array);
    for (size_t i = 0; i < s->n_identity; i++) n += strlen(s->identity[i].value) + around_text;
    return n;
}
