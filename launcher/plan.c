/* `qlora plan`: the worker plans; here is decided for how many ranks. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config/config.h"
#include "base/log.h"
#include "launcher/devices.h"
#include "launcher/launcher.h"

/* A configuration that cannot be read is the worker's to speak of. */
static bool may_use_devices(const ql_arguments *a) {
    const char *device = ql_arguments_value(a, "--device");
    ql_config   config;
    if (device) return strcmp(device, "cpu") != 0;
    if (ql_bad(ql_config_read(a->word[a->first_rest], a->word + a->first_rest + 1, a->count - a->first_rest - 1, &config, NULL))) return false;
    bool may = strcmp(config.device, "cpu") != 0;
    ql_config_free(&config);
    return may;
}

static void hide_unusable(const ql_devices *d) {
    char *visible = ql_devices_visible(d, 0, d->usable, getenv("CUDA_VISIBLE_DEVICES"));
    if (d->unusable > 0) setenv("CUDA_VISIBLE_DEVICES", visible, 1);
    free(visible);
}

/* As many as `qlora run` would start. */
static ql_err count_ranks(const ql_arguments *a, int64_t *ranks) {
    char      *worker;
    ql_devices d = {0};
    *ranks = 1;
    if (!may_use_devices(a)) return ql_ok();
    QL_TRY(ql_worker_find(&worker));
    ql_err e = ql_devices_look(worker, &d);
    free(worker);
    QL_TRY(e);
    if (d.problems) ql_warn("%s", d.problems);
    free(d.problems);
    hide_unusable(&d);
    *ranks = ql_max(d.usable, 1);
    return ql_ok();
}

ql_err ql_start_plan(const ql_arguments *a) {
    char        text[24];
    const char *head[] = {"--plan", "-n", text};
    bool        says = ql_arguments_value(a, "-n") || ql_arguments_value(a, "--gpu");
    int64_t     ranks = 1;
    if (!says) QL_TRY(count_ranks(a, &ranks));
    snprintf(text, sizeof text, "%" PRId64, ranks);
    return ql_become_worker(head, ranks > 1 ? QL_LEN(head) : 1, a);
}
