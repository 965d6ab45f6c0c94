#include "worker/probe.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "collective/collective.h"
#include "collective/data_plane.h"
#include "worker/trial.h"

/* A device, and why it cannot be used; "": it can. */
typedef struct {
    const char    *kind;
    int            index, of;
    ql_device_info info;
    char           problem[512];
} probed;

/* Free memory is known only once a device is open; one that cannot be opened is shown all the same. */
static ql_err look_at(const char *kind, int index, int of, probed *out) {
    *out = (probed){.kind = kind, .index = index, .of = of};
    QL_TRY(ql_device_look(kind, index, &out->info));
    ql_device     *d;
    ql_device_info open;
    ql_err         e = ql_device_open(kind, index, 0, &d);
    if (!ql_bad(e)) {
        e = ql_device_describe(d, &open);
        if (!ql_bad(e)) e = ql_device_try(d);
        ql_device_close(d);
        if (!ql_bad(e)) out->info = open;
    }
    if (ql_bad(e)) snprintf(out->problem, sizeof out->problem, "%s", ql_err_text());
    return ql_ok();
}

/* "0, 2" */
static void put_peers(uint64_t peers, ql_str *out) {
    bool first = true;
    for (int i = 0; i < 64; i++) {
        if (!(peers >> i & 1)) continue;
        ql_str_printf(out, "%s%d", first ? "" : ", ", i);
        first = false;
    }
}

/* ---- for people ---- */

static void put_text(const probed *p, ql_str *out) {
    const ql_device_info *d = &p->info;
    char                  total[32], available[32];
    if (d->capability) ql_str_printf(out, "%s %d", p->kind, p->index);
    else ql_str_printf(out, "%-6s", p->kind);
    ql_str_printf(out, " %s, ", d->name);
    if (d->threads) ql_str_printf(out, "%d threads, ", d->threads);
    if (d->capability) ql_str_printf(out, "compute capability %d.%d, ", d->capability / 10, d->capability % 10);
    ql_str_printf(out, "%s of memory", ql_text_bytes(total, d->bytes_total));
    if (!p->problem[0]) ql_str_printf(out, ", %s available", ql_text_bytes(available, d->bytes_free));
    if (d->id[0]) ql_str_printf(out, "\n       %s", d->id);
    if (d->driver[0]) ql_str_printf(out, "\n       %s", d->driver);
    if (d->peers) {
        ql_str_puts(out, "\n       reaches the memory of ");
        put_peers(d->peers, out);
    } else if (p->of > 1) {
        ql_str_puts(out, "\n       reaches no other's memory: exchanges go through the host");
    }
    if (p->problem[0]) ql_str_printf(out, "\n       cannot be used: %s", p->problem);
    ql_str_puts(out, "\n");
}

static void put_absence(const char *kind, bool built, const char *why, ql_str *out) {
    if (built) ql_str_printf(out, "%-6s none: %s\n", kind, why);
    else ql_str_printf(out, "%-6s not part of this build\n", kind);
}

static void put_library(const char *kind, ql_str *out) {
    char name[64];
    ql_data_plane_library(kind, name);
    if (name[0]) ql_str_printf(out, "       %s\n", name);
    else ql_str_puts(out, "       no NCCL in this build: ranks exchange gradients through the host\n");
}

/* ---- as JSON ---- */

static void put_field(ql_str *out, const char *name, const char *text) {
    ql_str_printf(out, ", \"%s\": ", name);
    ql_json_put_string(out, text, strlen(text));
}

static void put_json(const probed *p, ql_str *out) {
    const ql_device_info *d = &p->info;
    ql_str_printf(out, "{\"kind\": \"%s\", \"index\": %d", p->kind, p->index);
    put_field(out, "name", d->name);
    ql_str_printf(out, ", \"threads\": %d, \"bytes_total\": %llu, \"bytes_free\": %llu", d->threads,
                  (unsigned long long)d->bytes_total, (unsigned long long)d->bytes_free);
    if (d->capability) {
        ql_str_printf(out, ", \"capability\": \"%d.%d\"", d->capability / 10, d->capability % 10);
        put_field(out, "id", d->id);
        put_field(out, "driver", d->driver);
        ql_str_puts(out, ", \"peers\": [");
        put_peers(d->peers, out);
        ql_str_puts(out, "]");
    }
    if (p->problem[0]) put_field(out, "problem", p->problem);
    ql_str_puts(out, "}");
}

/* ---- all ---- */

typedef struct {
    bool   json;
    ql_str devices, absent, libraries; /* what is listed, in JSON without its brackets */
} listing;

static void list_absent(listing *l, const char *kind, bool built, const char *why) {
    if (!l->json) {
        put_absence(kind, built, why, &l->devices);
        return;
    }
    ql_str_printf(&l->absent, "%s\"%s\": ", l->absent.size ? ", " : "", kind);
    const char *reason = built ? why : "not part of this build";
    ql_json_put_string(&l->absent, reason, strlen(reason));
}

static void list_library(listing *l, const char *kind) {
    if (!l->json) {
        put_library(kind, &l->devices);
        return;
    }
    char name[64];
    ql_data_plane_library(kind, name);
    if (!name[0]) return;
    if (l->libraries.size) ql_str_puts(&l->libraries, ", ");
    ql_json_put_string(&l->libraries, name, strlen(name));
}

static ql_err list_kind(listing *l, const char *kind, bool built) {
    int  n = 0;
    char why[256] = "";
    if (built) QL_TRY(ql_device_count(kind, &n, why));
    if (n == 0) list_absent(l, kind, built, why);
    bool accelerates = false;
    for (int i = 0; i < n; i++) {
        probed p;
        QL_TRY(look_at(kind, i, n, &p));
        accelerates = p.info.capability > 0;
        if (l->json && l->devices.size) ql_str_puts(&l->devices, ", ");
        if (l->json) put_json(&p, &l->devices);
        else put_text(&p, &l->devices);
    }
    if (accelerates) list_library(l, kind);
    return ql_ok();
}

static const char *text_of(const ql_str *s) {
    return s->data ? s->data : "";
}

/* What this program was built with: "" where it was not. */
static void put_build(ql_str *out) {
    char mpi[64], library[64];
    ql_world_library(mpi);
    put_field(out, "mpi", mpi);
    ql_device_library(ql_device_preferred(), library);
    put_field(out, "driven_by", library);
    put_field(out, "version", QL_VERSION);
}

static void print(const listing *l) {
    if (!l->json) {
        fputs(text_of(&l->devices), stdout);
        return;
    }
    ql_str build = {0};
    put_build(&build);
    printf("{\"devices\": [%s], \"absent\": {%s}, \"libraries\": [%s]%s}\n", text_of(&l->devices), text_of(&l->absent),
           text_of(&l->libraries), build.data);
    ql_str_free(&build);
}

ql_err ql_probe(bool json) {
    listing     l = {.json = json};
    bool        built;
    const char *kind;
    ql_err      e = ql_ok();
    for (int i = 0; !ql_bad(e) && (kind = ql_device_kind(i, &built)); i++) e = list_kind(&l, kind, built);
    if (!ql_bad(e)) print(&l);
    ql_str_free(&l.devices);
    ql_str_free(&l.absent);
    ql_str_free(&l.libraries);
    return e;
}
