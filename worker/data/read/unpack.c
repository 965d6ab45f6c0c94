#include "worker/data/read/unpack.h"

ql_err ql_unpack_cut_off(const char *name) {
    return ql_fail(QL_DATA, "the %s data end too soon; the file is cut off: copy or download it again", name);
}

ql_err ql_unpack_damaged(const char *name, const char *how) {
    return ql_fail(QL_DATA, "the %s data are damaged (%s); copy or download the file again", name, how);
}

ql_err ql_unpack_trailing(const char *name) {
    return ql_fail(QL_DATA, "something else follows the end of the %s data; remove it, or pack the file again", name);
}
