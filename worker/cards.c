#include "worker/cards.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/config/nearest.h"
#include "base/mem.h"

#define MIB(N) ((uint64_t)(N) << 20)

/* H200: as measured (docs/gpu). The others: the least that drivers up to 580 are seen to report on Linux, error
 * correction on where the card has it; T4 14.56 GiB, RTX 3090 23.55, RTX 4090 23.51, A100 39.38 and 79.14, H100 79.10. */
static const ql_card known[] = {
    {"T4", "NVIDIA T4, 16 GB", MIB(14909), 75},
    {"RTX3090", "NVIDIA GeForce RTX 3090, 24 GB", MIB(24115), 86},
    {"RTX4090", "NVIDIA GeForce RTX 4090, 24 GB", MIB(24074), 89},
    {"A100-40", "NVIDIA A100, 40 GB", MIB(40325), 80},
    {"A100-80", "NVIDIA A100, 80 GB", MIB(81039), 80},
    {"H100", "NVIDIA H100, 80 GB", MIB(80998), 90},
    {"H200", "NVIDIA H200, 141 GB", MIB(143155), 90},
};

/* "3090" and "A100" are names that people have for them. */
static const char *nearest_card(const char *name, const char *const names[]) {
    char upper[64] = "";
    for (size_t i = 0; name[i] && i + 1 < sizeof upper; i++) upper[i] = (char)toupper((unsigned char)name[i]);
    for (size_t i = 0; *upper && i < QL_LEN(known); i++)
        if (strstr(names[i], upper)) return names[i];
    return ql_nearest(upper, names, QL_LEN(known));
}

static ql_err unknown_card(const char *name) {
    const char *names[QL_LEN(known)];
    char        shown[64];
    snprintf(shown, sizeof shown, "%s", name);
    ql_hide_controls(shown, true);
    ql_str      list = {0};
    for (size_t i = 0; i < QL_LEN(known); i++) {
        names[i] = known[i].name;
        ql_str_printf(&list, "%s%s", i ? ", " : "", names[i]);
    }
    const char *nearest = nearest_card(name, names);
    ql_err      e = ql_fail(QL_USAGE, "--gpu: '%s' is not a known card%s%s%s; known are %s; for others: --device cuda --max-memory SIZE",
                            shown, nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "", list.data);
    ql_str_free(&list);
    return e;
}

ql_err ql_card_find(const char *name, const ql_card **out) {
    for (size_t i = 0; i < QL_LEN(known); i++)
        if (!strcasecmp(name, known[i].name)) {
            *out = &known[i];
            return ql_ok();
        }
    return unknown_card(name);
}

ql_device_info ql_card_info(const ql_card *c, uint64_t context) {
    ql_device_info info = {.bytes_total = c->bytes_total, .bytes_free = c->bytes_total - context, .capability = c->capability};
    snprintf(info.name, sizeof info.name, "%s", c->title);
    return info;
}
