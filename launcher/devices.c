#include "launcher/devices.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "launcher/child.h"

static void count(const ql_json *device, ql_devices *out, ql_str *problems) {
    const char *kind = ql_json_text(ql_json_get(device, "kind"), NULL);
    const char *problem = ql_json_text(ql_json_get(device, "problem"), NULL);
    if (!kind || !strcmp(kind, "cpu")) return;
    int64_t index = ql_json_int(ql_json_get(device, "index"), -1);
    if (!problem && out->usable < QL_DEVICES) out->index[out->usable++] = index;
    if (!problem) return;
    out->unusable++;
    ql_str_printf(problems, "%s%s %" PRId64 ": %s", problems->size ? "; " : "", kind, index, problem);
}

static ql_err read_answer(const ql_answer *a, ql_devices *out) {
    ql_json *v;
    QL_CHECK(!a->is_late, QL_TEMP, "qlora-worker --probe does not end: a device does not answer");
    QL_CHECK(a->status == 0, QL_TEMP, "qlora-worker --probe ended with status %d: %s", a->status, a->errors.data);
    QL_TRY(ql_json_parse(a->text.data, a->text.size, "qlora-worker --probe", 1, &v));
    const ql_json *devices = ql_json_get(v, "devices");
    ql_str         problems = {0};
    for (size_t i = 0; i < ql_json_size(devices); i++) count(ql_json_at(devices, i), out, &problems);
    out->problems = problems.data;
    ql_json_free(v);
    return ql_ok();
}

ql_err ql_devices_look(const char *worker, ql_devices *out) {
    enum { SECONDS = 120 };
    const char *argv[] = {worker, "--probe", "--json", NULL};
    ql_answer   answer;
    *out = (ql_devices){0};
    ql_err e = ql_child_ask(argv, SECONDS, &answer);
    if (!ql_bad(e)) e = read_answer(&answer, out);
    ql_answer_free(&answer);
    return e;
}

/* The i-th word of a list with commas. */
static void put_word(const char *list, int64_t i, ql_str *out) {
    for (; i > 0 && *list; i--) list += strcspn(list, ",") + (list[strcspn(list, ",")] == ',');
    ql_str_put(out, list, strcspn(list, ","));
}

char *ql_devices_visible(const ql_devices *d, int64_t first, int64_t n, const char *visible) {
    ql_str text = {0};
    for (int64_t i = first; i < first + n && i < d->usable; i++) {
        if (text.size) ql_str_puts(&text, ",");
        if (visible) put_word(visible, d->index[i], &text);
        else ql_str_printf(&text, "%" PRId64, d->index[i]);
    }
    if (!text.data) ql_str_puts(&text, "");
    return text.data;
}

void ql_devices_hide_unusable(const ql_devices *d) {
    if (d->unusable == 0) return;
    char *visible = ql_devices_visible(d, 0, d->usable, getenv("CUDA_VISIBLE_DEVICES"));
    setenv("CUDA_VISIBLE_DEVICES", visible, 1);
    free(visible);
}

ql_err ql_devices_take(const char *worker, int64_t *usable) {
    ql_devices d;
    QL_TRY(ql_devices_look(worker, &d));
    if (d.problems) ql_warn("%s", d.problems);
    ql_devices_hide_unusable(&d);
    free(d.problems);
    *usable = d.usable;
    return ql_ok();
}
