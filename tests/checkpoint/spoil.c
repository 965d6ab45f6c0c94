#include "spoil.h"

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "state.h"

enum { OUR_FILTER = 32123 };

static void check(hid_t id) {
    if (id >= 0) return;
    fprintf(stderr, "a hostile file cannot be made\n");
    abort();
}

static struct {
    char path[256]; /* of the dataset that is spoilt, a matrix of the adapter */
    hsize_t shape[2];
    char key[256]; /* of a text of the identity */
} victim;

static hsize_t elements(void) {
    return victim.shape[0] * victim.shape[1];
}

/* Takes it out, so that another can be put in its place. */
static void drop_victim(hid_t f) {
    check(H5Ldelete(f, victim.path, H5P_DEFAULT));
}

static hid_t properties(void) {
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    check(list);
    return list;
}

static void chunked(hid_t list, hsize_t rows, hsize_t cols) {
    hsize_t chunk[2] = {rows, cols};
    check(H5Pset_chunk(list, 2, chunk));
}

/* A dataset of zeros in its place; `write` false leaves it without data. */
static void replace(hid_t f, hid_t type, int rank, const hsize_t *dims, const hsize_t *most, hid_t list, bool write) {
    drop_victim(f);
    hid_t space = H5Screate_simple(rank, dims, most);
    hid_t set = H5Dcreate2(f, victim.path, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    check(set);
    if (write) {
        void *zeros = ql_alloc(elements() * 8);
        check(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros));
        free(zeros);
    }
    H5Sclose(space), H5Dclose(set), H5Pclose(list);
}

static const hsize_t HUGE_[2] = {1u << 16, 1u << 17}, ANY[2] = {H5S_UNLIMITED, H5S_UNLIMITED};

static void turned(hid_t f) {
    replace(f, H5T_IEEE_F32LE, 2, (hsize_t[]){victim.shape[1], victim.shape[0]}, NULL, properties(), true);
}
static void flat(hid_t f) {
    replace(f, H5T_IEEE_F32LE, 1, (hsize_t[]){elements()}, NULL, properties(), true);
}
static void cube(hid_t f) {
    replace(f, H5T_IEEE_F32LE, 3, (hsize_t[]){victim.shape[0], 2, victim.shape[1] / 2}, NULL, properties(), true);
}
static void doubles(hid_t f) {
    replace(f, H5T_IEEE_F64LE, 2, victim.shape, NULL, properties(), true);
}
static void big_endian(hid_t f) {
    replace(f, H5T_IEEE_F32BE, 2, victim.shape, NULL, properties(), true);
}
static void integers(hid_t f) {
    replace(f, H5T_STD_I32LE, 2, victim.shape, NULL, properties(), true);
}
static void never_written(hid_t f) {
    replace(f, H5T_IEEE_F32LE, 2, victim.shape, NULL, properties(), false);
}

static void huge(hid_t f) {
    hid_t list = properties();
    chunked(list, 16, 16);
    replace(f, H5T_IEEE_F32LE, 2, HUGE_, NULL, list, false);
}

static void huge_chunk(hid_t f) {
    hid_t list = properties();
    chunked(list, 1u << 14, 1u << 15);
    replace(f, H5T_IEEE_F32LE, 2, victim.shape, ANY, list, false);
}

static void chunk_beyond_shape(hid_t f) {
    hid_t list = properties();
    chunked(list, 2 * victim.shape[0], victim.shape[1]);
    replace(f, H5T_IEEE_F32LE, 2, victim.shape, ANY, list, true);
}

static void one_chunk_missing(hid_t f) {
    hid_t list = properties();
    chunked(list, victim.shape[0] - 1, victim.shape[1]);
    replace(f, H5T_IEEE_F32LE, 2, victim.shape, NULL, list, false);
    hid_t set = H5Dopen2(f, victim.path, H5P_DEFAULT), file = H5Dget_space(set);
    hsize_t start[2] = {0, 0}, count[2] = {victim.shape[0] - 1, victim.shape[1]};
    hid_t memory = H5Screate_simple(2, count, NULL);
    float *zeros = ql_alloc(elements() * sizeof *zeros);
    check(H5Sselect_hyperslab(file, H5S_SELECT_SET, start, NULL, count, NULL));
    check(H5Dwrite(set, H5T_NATIVE_FLOAT, memory, file, H5P_DEFAULT, zeros));
    free(zeros);
    H5Sclose(memory), H5Sclose(file), H5Dclose(set);
}

static void compact(hid_t f) {
    hid_t list = properties();
    check(H5Pset_layout(list, H5D_COMPACT));
    replace(f, H5T_IEEE_F32LE, 2, victim.shape, NULL, list, true);
}

static void deflated(hid_t f) {
    hid_t list = properties();
    chunked(list, victim.shape[0], victim.shape[1]);
    check(H5Pset_deflate(list, 1));
    replace(f, H5T_IEEE_F32LE, 2, victim.shape, NULL, list, true);
}

static void external_file(hid_t f) {
    hid_t list = properties();
    check(H5Pset_external(list, "/etc/passwd", 0, elements() * sizeof(float)));
    replace(f, H5T_IEEE_F32LE, 2, victim.shape, NULL, list, false);
}

static void virtual_set(hid_t f) {
    hid_t list = properties(), space = H5Screate_simple(2, victim.shape, NULL);
    check(H5Pset_virtual(list, space, "/etc/passwd", "x", space));
    H5Sclose(space);
    replace(f, H5T_IEEE_F32LE, 2, victim.shape, NULL, list, false);
}

static void soft_link(hid_t f) {
    drop_victim(f);
    check(H5Lcreate_soft("/moment2", f, victim.path, H5P_DEFAULT, H5P_DEFAULT));
}

static void external_link(hid_t f) {
    drop_victim(f);
    check(H5Lcreate_external("other.h5", "x", f, victim.path, H5P_DEFAULT, H5P_DEFAULT));
}

static void group_is_external(hid_t f) {
    check(H5Ldelete(f, "moment1", H5P_DEFAULT));
    check(H5Lcreate_external("other.h5", "/moment1", f, "moment1", H5P_DEFAULT, H5P_DEFAULT));
}

static void group_is_soft(hid_t f) {
    check(H5Ldelete(f, "moment1", H5P_DEFAULT));
    check(H5Lcreate_soft("/moment2", f, "moment1", H5P_DEFAULT, H5P_DEFAULT));
}

static void make_group(hid_t f, const char *path) {
    hid_t group = H5Gcreate2(f, path, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    check(group);
    H5Gclose(group);
}

static void set_is_group(hid_t f) {
    drop_victim(f);
    make_group(f, victim.path);
}

static void group_is_set(hid_t f) {
    check(H5Ldelete(f, "moment2", H5P_DEFAULT));
    check(H5Ocopy(f, victim.path, f, "moment2", H5P_DEFAULT, H5P_DEFAULT));
}

static void another_group(hid_t f) {
    make_group(f, "more");
}
static void another_set(hid_t f) {
    make_group(f, "moment1/more");
}
static void no_group(hid_t f) {
    check(H5Ldelete(f, "moment2", H5P_DEFAULT));
}

static void deep_groups(hid_t f) {
    char path[4096] = "adapter";
    for (int i = 0; i < 1000; i++) {
        strcat(path, "/x");
        make_group(f, path);
    }
}

static void value(hid_t f, float x) {
    hid_t set = H5Dopen2(f, victim.path, H5P_DEFAULT);
    float *data = ql_alloc(elements() * sizeof *data);
    data[elements() - 1] = x;
    check(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, data));
    free(data);
    H5Dclose(set);
}

static void nan_inside(hid_t f) {
    value(f, NAN);
}
static void infinity_inside(hid_t f) {
    value(f, -INFINITY);
}

static void attribute(hid_t f, const char *name, hid_t type, hid_t memory, const void *data) {
    check(H5Adelete(f, name));
    hid_t space = H5Screate(H5S_SCALAR), a = H5Acreate2(f, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    check(a);
    check(H5Awrite(a, memory, data));
    H5Sclose(space), H5Aclose(a);
}

static void number(hid_t f, const char *name, int64_t x) {
    attribute(f, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &x);
}
static void negative_step(hid_t f) {
    number(f, "step", -2);
}
static void other_step(hid_t f) {
    number(f, "step", 1000);
}
static void future_version(hid_t f) {
    number(f, "format_version", 9);
}
static void no_cursor(hid_t f) {
    check(H5Adelete(f, "rows_done"));
}
static void half_a_loss_scale(hid_t f) {
    check(H5Adelete(f, "loss_scale_steps"));
}
static void negative_loss_scale(hid_t f) {
    number(f, "loss_scale_exponent", -1);
}

static void real_step(hid_t f) {
    double x = 2;
    attribute(f, "step", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &x);
}

static void text_step(hid_t f) {
    hid_t type = H5Tcopy(H5T_C_S1);
    const char *x = "2";
    H5Tset_size(type, H5T_VARIABLE);
    attribute(f, "step", type, type, &x);
    H5Tclose(type);
}

static void identity(hid_t f, hid_t type, hid_t space, const void *data) {
    check(H5Ldelete(f, victim.key, H5P_DEFAULT));
    hid_t set = H5Dcreate2(f, victim.key, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    check(set);
    check(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data));
    H5Dclose(set), H5Sclose(space), H5Tclose(type);
}

static void variable_text(hid_t f) {
    hid_t type = H5Tcopy(H5T_C_S1);
    const char *x = "value 1";
    H5Tset_size(type, H5T_VARIABLE);
    identity(f, type, H5Screate(H5S_SCALAR), &x);
}

static void list_of_texts(hid_t f) {
    hid_t type = H5Tcopy(H5T_C_S1);
    hsize_t n = 2;
    H5Tset_size(type, 7);
    identity(f, type, H5Screate_simple(1, &n, NULL), "value 1value 1");
}

static void long_text(hid_t f) {
    hid_t type = H5Tcopy(H5T_C_S1);
    size_t n = 2 << 20;
    char *x = ql_alloc(n);
    H5Tset_size(type, n);
    identity(f, type, H5Screate(H5S_SCALAR), x);
    free(x);
}

static void number_for_text(hid_t f) {
    double x = 1;
    identity(f, H5Tcopy(H5T_IEEE_F64LE), H5Screate(H5S_SCALAR), &x);
}

static size_t pass_through(unsigned flags, size_t n_values, const unsigned values[], size_t n, size_t *size,
                           void **data) {
    (void)flags, (void)n_values, (void)values, (void)size, (void)data;
    return n;
}

/* A filter that only a plug-in could bring. */
static void unknown_filter(hid_t f) {
    const H5Z_class2_t filter = {H5Z_CLASS_T_VERS, OUR_FILTER, 1, 1, "ours", NULL, NULL, pass_through};
    check(H5Zregister(&filter));
    hid_t list = properties();
    chunked(list, victim.shape[0], victim.shape[1]);
    check(H5Pset_filter(list, OUR_FILTER, 0, 0, NULL));
    replace(f, H5T_IEEE_F32LE, 2, victim.shape, NULL, list, true);
}

static const struct {
    const char *name;
    void (*spoil)(hid_t file);
    const char *why;
} cases[] = {
    {"a shape turned round", turned, "lora_A: has the shape ["},
    {"one dimension", flat, "is not a matrix"},
    {"three dimensions", cube, "is not a matrix"},
    {"doubles", doubles, "32-bit floats"},
    {"big-endian floats", big_endian, "32-bit floats"},
    {"integers", integers, "32-bit floats"},
    {"no data", never_written, "is not stored completely"},
    {"2^33 elements", huge, "has the shape [65536, 131072]"},
    {"a chunk of 2 GiB", huge_chunk, "has a layout"},
    {"a chunk beyond the shape", chunk_beyond_shape, "has a layout"},
    {"a missing chunk", one_chunk_missing, "is not stored completely"},
    {"compact layout", compact, "has a layout"},
    {"compression", deflated, "has a filter"},
    {"external storage", external_file, "outside of the file"},
    {"a virtual dataset", virtual_set, "has a layout"},
    {"a soft link", soft_link, "a link that leads elsewhere"},
    {"an external link", external_link, "a link that leads elsewhere"},
    {"a group in another file", group_is_external, "moment1: is a link that leads elsewhere"},
    {"a group that is another's", group_is_soft, "moment1: is a link that leads elsewhere"},
    {"a group for a dataset", set_is_group, "is not a dataset"},
    {"a dataset for a group", group_is_set, "moment2: is not a group"},
    {"one group more", another_group, "holds 5 groups instead of 4"},
    {"one member more", another_set, "moment1: holds "},
    {"no second moments", no_group, "holds 3 groups instead of 4"},
    {"a thousand groups", deep_groups, "adapter: holds "},
    {"NaN", nan_inside, "is not a finite number"},
    {"infinity", infinity_inside, "is not a finite number"},
    {"a negative step", negative_step, "step: is negative"},
    {"another step", other_step, ", its manifest of step "},
    {"a newer version", future_version, "has format version 9"},
    {"no cursor", no_cursor, "rows_done: is missing"},
    {"half a loss scale", half_a_loss_scale, "loss_scale_steps: is missing"},
    {"a negative loss scale", negative_loss_scale, "loss_scale_exponent: is negative"},
    {"a step that is no integer", real_step, "step: is not one 64-bit integer"},
    {"a step that is text", text_step, "step: is not one 64-bit integer"},
    {"text of variable length", variable_text, ": is not one text"},
    {"several texts", list_of_texts, ": is not one text"},
    {"a text of 2 MiB", long_text, ": is not one text"},
    {"a number for a text", number_for_text, ": is not one text"},
    {"an unknown filter", unknown_filter, "has a filter"},
};

size_t spoil_ways(void) {
    return QL_LEN(cases);
}

const char *spoil_name(size_t way) {
    return cases[way].name;
}

const char *spoil_reason(size_t way) {
    return cases[way].why;
}

const char *spoil_victim(void) {
    return victim.path;
}

static void first_member(hid_t file, const char *group, char path[256]) {
    char name[200];
    hid_t g = H5Gopen2(file, group, H5P_DEFAULT);
    check(g);
    check(H5Lget_name_by_idx(g, ".", H5_INDEX_NAME, H5_ITER_INC, 0, name, sizeof name, H5P_DEFAULT) > 0 ? 0 : -1);
    H5Gclose(g);
    snprintf(path, 256, "%s/%s", group, name);
}

static void choose_victim(hid_t file) {
    first_member(file, "adapter", victim.path);
    first_member(file, "identity", victim.key);
    hid_t set = H5Dopen2(file, victim.path, H5P_DEFAULT), space = H5Dget_space(set);
    check(H5Sget_simple_extent_dims(space, victim.shape, NULL));
    H5Sclose(space), H5Dclose(set);
}

bool spoil(const char *checkpoint, int64_t step, size_t way) {
    char *path = ql_path_join(checkpoint, "state.h5");
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    free(path);
    check(file);
    bool of_float16 = strstr(cases[way].name, "loss scale"), applies = !of_float16 || H5Aexists(file, "loss_scale_exponent") > 0;
    choose_victim(file);
    if (applies) cases[way].spoil(file);
    check(H5Fclose(file));
    if (ql_bad(renew_manifest(checkpoint, step))) check(-1);
    return applies;
}
