/* Records of each format, damaged: read, worded, rendered and tokenised by that format, whatever their fields say, or refused in one line with the file's
 * name. The first byte of a mutant chooses the format, the second the settings, the rest is a file of JSON Lines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <omp.h>

#include "base/log.h"
#include "tests/fuzz/common.h"
#include "worker/data/dataset.h"

#define USER(t)  "{\"role\": \"user\", \"content\": \"" t "\"}"
#define REPLY(t) "{\"role\": \"assistant\", \"content\": \"" t "\"}"

static const struct {
    const char *format, *text;
} seed[] = {
    {"auto", "{\"text\": \"one\"}\n{\"text\": \"two\"}"},
    {"messages", "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, " USER("q") ", " REPLY("x") ", " USER("r") ", " REPLY("y") "]}"},
    {"messages", "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}, {\"type\": \"text\", \"text\": \"b\"}]}, {\"role\": \"assistant\", "
                 "\"content\": null, \"tool_calls\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": {\"k\": 1}}}]}, {\"role\": \"tool\", \"content\": \"7\"}, "
                 REPLY("z") "], \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\"}}], \"chat_template_kwargs\": {\"thinking\": true}}"},
    {"conversations", "{\"system\": \"s\", \"conversations\": [{\"from\": \"human\", \"value\": \"q\"}, {\"from\": \"gpt\", \"value\": \"x\"}]}"},
    {"conversations", "{\"conversations\": [" USER("q") ", " REPLY("x") "]}"},
    {"prompt", "{\"prompt\": \"p\", \"completion\": \"c\"}"},
    {"prompt", "{\"prompt\": [" USER("q") "], \"completion\": [" REPLY("x") "]}"},
    {"alpaca", "{\"instruction\": \"i\", \"input\": \"n\", \"output\": \"o\"}"},
    {"alpaca", "{\"instruction\": \"i\", \"input\": null, \"output\": \"o\", \"history\": []}"},
    {"alpaca_chat", "{\"instruction\": \"i\", \"input\": \"n\", \"output\": \"o\", \"system\": \"s\", \"history\": [[\"q\", \"x\"], [\"r\", \"y\"]]}"},
    {"alpaca_chat", "{\"instruction\": \"i\", \"output\": \"o\"}"},
    {"question", "{\"question\": \"q\", \"answer\": \"\\ud83d\\ude00\"}"},
    {"preference", "{\"prompt\": \"p\", \"chosen\": \"x\", \"rejected\": \"y\"}"},
    {"preference", "{\"chosen\": \"p \\u00e9\", \"rejected\": \"p \\u00e8\"}"},
    {"preference", "{\"chosen\": \"ab\", \"rejected\": \"abc\"}"},
    {"preference", "{\"question\": \"q\", \"chosen\": \"x\", \"rejected\": \"y\"}"},
    {"preference", "{\"instruction\": \"i\", \"chosen\": \"x\", \"rejected\": \"y\"}"},
    {"preference", "{\"prompt\": [" USER("q") "], \"chosen\": [" REPLY("x") "], \"rejected\": [" REPLY("y") "]}"},
    {"preference", "{\"chosen\": [" USER("q") ", " REPLY("x") "], \"rejected\": [" USER("q") ", " REPLY("y") "]}"},
    {"preference", "{\"system\": \"s\", \"conversations\": [{\"from\": \"human\", \"value\": \"q\"}], \"chosen\": {\"from\": \"gpt\", \"value\": \"x\"}, "
                   "\"rejected\": {\"from\": \"gpt\", \"value\": \"y\"}}"},
    {"text", "{\"text\": \"t\", \"question\": \"q\", \"answer\": \"a\"}"},
};

/* Bits of the second byte. */
enum { WITH_WORDING = 1, WITH_BLOCKS = 2, TRUNCATED = 4, TRAIN = 8 /* and 16, 32 */ };
static const char *const train_on[] = {NULL, "auto", "assistant", "last", "completion", "all", NULL, NULL};

#define TURN "[{{ m.role }}]{{ m.content }}{% for c in m.tool_calls or [] %}{{ c | tojson }}{% endfor %}"
static const char *const chat_template[] = {
    "{{ tools | tojson if tools }}{% for m in messages %}" TURN "{% if m.role == 'assistant' %}</s>{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}",
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}" TURN "</s>{% endgeneration %}{% else %}" TURN "{% endif %}{% endfor %}",
};

typedef struct {
    ql_config     config;
    ql_tokenizer *tokenizer;
    ql_chat       chat[2];
} fixture;

static void insist(bool fact, const char *what) {
    if (fact) return;
    fprintf(stderr, "fuzz_formats: %s: %s\n", what, ql_err_text());
    abort();
}

static void check_refusal(ql_err e, const char *path) {
    bool of_settings = e.code == QL_USAGE && !strchr(ql_err_text(), '\n');
    insist(e.code == QL_DATA || of_settings, "a refusal that is neither of data nor of settings");
    insist(!strncmp(ql_err_text(), path, strlen(path)), "a refusal that does not begin with the file");
    insist(!strchr(ql_err_text(), '\n'), "a refusal of several lines");
}

static void check_document(const ql_config *c, const ql_document *d) {
    int32_t targets = 0;
    for (int32_t i = 0; i < d->length; i++) {
        insist(d->ids[i] >= 0 && d->ids[i] < 260 && d->is_target[i] <= 1, "a token that cannot be");
        targets += d->is_target[i];
    }
    insist(d->length >= 2 && d->length <= c->max_length && d->targets > 0 && d->targets == targets && !d->is_target[0], "a document that cannot be");
}

static void check_corpus(const ql_config *c, const ql_corpus *corpus) {
    int64_t sides = corpus->pairs ? 2 : 1;
    insist(corpus->records == (int64_t)corpus->documents / sides + corpus->dropped_long + corpus->without_targets, "records got lost");
    for (size_t i = 0; i < corpus->documents; i++) check_document(c, &corpus->document[i]);
    for (size_t i = 0; corpus->pairs && i < corpus->documents; i += 2) {
        const ql_document *d = &corpus->document[i];
        insist(i + 1 < corpus->documents && d[0].record == d[1].record && !memcmp(&d[0].content, &d[1].content, sizeof d->content), "half a pair");
    }
}

static bool read_records(void *ctx, const uint8_t *bytes, size_t n) {
    static char truncate[] = "truncate", drop[] = "drop", wording[] = "{{ instruction }}{{ question }} {{ input }}: ";
    fixture *f = ctx;
    if (n < 2) return false;
    uint8_t settings = bytes[1];
    f->config.format = (char *)(uintptr_t)seed[bytes[0] % QL_LEN(seed)].format;
    f->config.train_on = (char *)(uintptr_t)train_on[settings / TRAIN % 8];
    f->config.instruction_template = settings & WITH_WORDING ? wording : NULL;
    f->config.excess_length_strategy = settings & TRUNCATED ? truncate : drop;
    const char *path = ql_fuzz_file("records.jsonl", bytes + 2, n - 2);
    ql_dataset_spec   spec = {.path = (char *)(uintptr_t)path};
    ql_datasets       files = {.item = &spec, .count = 1};
    ql_corpus_options o = {.config = &f->config, .tokenizer = f->tokenizer, .vocab_size = 260, .chat = &f->chat[!!(settings & WITH_BLOCKS)]};
    ql_corpus         corpus;
    ql_err            e = ql_corpus_read(&files, &o, &corpus);
    if (ql_bad(e)) check_refusal(e, path);
    else check_corpus(&f->config, &corpus);
    ql_corpus_free(&corpus);
    return !ql_bad(e);
}

static ql_err open_chats(fixture *f) {
    for (size_t i = 0; i < QL_LEN(f->chat); i++) {
        const char *path = ql_fuzz_file("chat.jinja", chat_template[i], strlen(chat_template[i]));
        QL_TRY(ql_chat_choose(ql_fuzz_folder(), path, NULL, &f->chat[i]));
    }
    return ql_ok();
}

static void make_seeds(ql_str *seeds) {
    for (size_t i = 0; i < QL_LEN(seed); i++) {
        char head[2] = {(char)i, 0};
        ql_str_put(&seeds[i], head, 2);
        ql_str_puts(&seeds[i], seed[i].text);
    }
}

int main(int argc, char **argv) {
    static char never[] = "false";
    fixture f = {.config = {.max_length = 250, .completion_only_loss = QL_AUTO, .dataset_cache = never}};
    ql_str  seeds[QL_LEN(seed)] = {0};
    omp_set_num_threads(1);
    ql_err e = ql_log_open(NULL, 1, 2); /* as another rank than the first: it says nothing */
    if (!ql_bad(e)) e = ql_tokenizer_open("", &f.tokenizer);
    if (!ql_bad(e)) e = open_chats(&f);
    if (ql_bad(e)) {
        fprintf(stderr, "%s\n", ql_err_text());
        return 2;
    }
    make_seeds(seeds);
    int status = ql_fuzz_main(argc, argv, seeds, QL_LEN(seed), read_records, &f);
    for (size_t i = 0; i < QL_LEN(seed); i++) ql_str_free(&seeds[i]);
    for (size_t i = 0; i < QL_LEN(f.chat); i++) ql_chat_close(&f.chat[i]);
    ql_tokenizer_close(f.tokenizer);
    return status;
}
