#include "old_format.h"

#include <hdf5.h>
#include <stdlib.h>

#include "base/mem.h"

/* One dataset, made anew: copied as an object it would keep the form of its header. */
static bool copy_set(hid_t from, hid_t to, const char *name) {
    hid_t in = H5Dopen2(from, name, H5P_DEFAULT), type = H5Dget_type(in), space = H5Dget_space(in);
    hid_t list = H5Dget_create_plist(in), out = H5Dcreate2(to, name, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    uint8_t *bytes = ql_alloc(1 << 16);
    bool good = out >= 0 && H5Dread(in, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes) >= 0 &&
                H5Dwrite(out, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes) >= 0;
    free(bytes);
    H5Dclose(in), H5Dclose(out), H5Tclose(type), H5Sclose(space), H5Pclose(list);
    return good;
}

static bool copy_group(hid_t from, hid_t to, const char *name) {
    hid_t in = H5Gopen2(from, name, H5P_DEFAULT), out = H5Gcreate2(to, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5G_info_t info;
    bool good = in >= 0 && out >= 0 && H5Gget_info(in, &info) >= 0;
    for (hsize_t i = 0; good && i < info.nlinks; i++) {
        char member[256];
        good = H5Lget_name_by_idx(in, ".", H5_INDEX_NAME, H5_ITER_INC, i, member, sizeof member, H5P_DEFAULT) > 0 && copy_set(in, out, member);
    }
    H5Gclose(in), H5Gclose(out);
    return good;
}

static bool copy_number(hid_t from, hid_t to, const char *name) {
    int64_t value = 0;
    hid_t scalar = H5Screate(H5S_SCALAR), in = H5Aopen(from, name, H5P_DEFAULT);
    hid_t out = H5Acreate2(to, name, H5T_STD_I64LE, scalar, H5P_DEFAULT, H5P_DEFAULT);
    bool good = H5Aread(in, H5T_NATIVE_INT64, &value) >= 0 && H5Awrite(out, H5T_NATIVE_INT64, &value) >= 0;
    H5Aclose(in), H5Aclose(out), H5Sclose(scalar);
    return good;
}

bool copy_in_old_format(const char *from, const char *to) {
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(access, H5F_LIBVER_EARLIEST, H5F_LIBVER_V18);
    hid_t in = H5Fopen(from, H5F_ACC_RDONLY, H5P_DEFAULT), out = H5Fcreate(to, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    static const char *const group[] = {"adapter", "moment1", "moment2", "identity"};
    static const char *const number[] = {"format_version", "step", "rows_done", "tokens_seen", "targets_seen"};
    bool good = in >= 0 && out >= 0;
    for (size_t i = 0; i < QL_LEN(group) && good; i++) good = copy_group(in, out, group[i]);
    for (size_t i = 0; i < QL_LEN(number) && good; i++) good = copy_number(in, out, number[i]);
    H5Fclose(in), H5Fclose(out), H5Pclose(access);
    return good;
}
