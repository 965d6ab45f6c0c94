/* qlora quantize: a model folder in 4 bits that transformers + bitsandbytes load, and that we load. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "checkpoint/quantize_folder.h"
#include "worker/model/model.h"
#include "worker/stop.h"
#include "worker/tool/tool.h"

/* The linear layers of the graph, as bitsandbytes chooses them: everything but the head. */
static bool is_linear(const char *tensor, void *context) {
    const ql_graph *g = context;
    for (size_t i = 0; i < g->slots; i++)
        if (g->slot[i].kind == QL_SLOT_LINEAR && !strcmp(g->slot[i].name, tensor)) return true;
    return false;
}

static ql_err quantize(const char *folder, const char *out, const ql_quant *type, bool double_quant) {
    ql_load_options o = {.quant = type, .double_quant = double_quant};
    ql_model        m;
    QL_TRY(ql_model_describe(folder, &o, &m));
    ql_err e = ql_ok();
    if (m.config.prequantised) e = ql_fail(QL_DATA, "%s: is quantised already; give the original folder", folder);
    if (!ql_bad(e)) e = ql_quantize_folder(folder, out, type, double_quant, is_linear, &m.graph, ql_stop_requested);
    ql_model_close(&m);
    return e;
}

ql_err ql_do_quantize(int argc, char **argv) {
    const char          *model = NULL, *out = NULL, *type = "nf4";
    bool                 no_double = false;
    const ql_tool_option options[] = {{"--model", &model, NULL},
                                      {"--out", &out, NULL},
                                      {"--type", &type, NULL},
                                      {"--no-double-quant", NULL, &no_double}};
    char               **words = QL_NEW_ARRAY(char *, (size_t)argc + 1);
    size_t               n;
    ql_err               e = ql_tool_arguments("quantize", argc, argv, options, QL_LEN(options), words, &n);
    if (!ql_bad(e) && n > 0) e = ql_fail(QL_USAGE, "quantize: %s: is not an option; see qlora quantize --help", words[0]);
    free(words);
    QL_TRY(e);
    QL_CHECK(model && out, QL_USAGE, "quantize: --model DIR and --out DIR are needed");
    QL_CHECK(ql_quant_find(type), QL_USAGE, "quantize: --type: %s is unknown; choose nf4 or fp4", type);
    ql_stop_watch_once();
    e = quantize(model, out, ql_quant_find(type), !no_double);
    if (e.code == QL_STOPPED) {
        ql_info("%s: %s", ql_stop_name(ql_stop_requested()), ql_err_text());
        ql_stop_die();
    }
    QL_TRY(e);
    ql_info("quantize: %s written", out);
    return ql_ok();
}
