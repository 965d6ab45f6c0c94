/* The audit: each fault is planted, and exactly that is found, in as many records and at the places where it is; with the real tokenizer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tests/data/fixture.h"
#include "worker/data/audit/audit_record.h"
#include "worker/data/audit/overlap.h"

#define TOKENIZER QL_TEST_DATA "/data/sentencepiece/tokenizer.json"
#define CHAT_TOKENS "\"bos_token\": \"<s>\", \"additional_special_tokens\": [\"<|im_start|>\", \"<|im_end|>\"]"

/* A model's folder: what is in tokenizer_config.json and generation_config.json. */
typedef struct {
    const char *tokenizer, *generation;
} folder_texts;
static const folder_texts usual = {"{" CHAT_TOKENS ", \"eos_token\": \"</s>\"}", "{\"eos_token_id\": 2}"};
static const folder_texts chat = {"{" CHAT_TOKENS ", \"eos_token\": \"<|im_end|>\"}", "{\"eos_token_id\": [2, 460]}"};
static const folder_texts other_stop = {"{" CHAT_TOKENS ", \"eos_token\": \"</s>\"}", "{\"eos_token_id\": [461]}"};
static const folder_texts derived = {"{" CHAT_TOKENS ", \"eos_token\": \"</s>\"}", "{\"eos_token_id\": 1, \"_from_model_config\": true}"};
static const folder_texts endless = {"{" CHAT_TOKENS "}", "{}"};

static ql_tokenizer *tokenizer_of(const folder_texts *f, ql_audit_facts *facts) {
    ql_str        text;
    ql_tokenizer *t;
    assert_false(ql_bad(ql_file_read(TOKENIZER, 1 << 20, &text)));
    named_file("tokenizer.json", text.data, text.size);
    named_text("tokenizer_config.json", f->tokenizer);
    named_text("generation_config.json", f->generation);
    ql_str_free(&text);
    if (ql_bad(ql_tokenizer_open(scratch(), &t)) || ql_bad(ql_audit_facts_open(scratch(), t, 500, 32, facts))) fail_msg("%s", ql_err_text());
    return t;
}

/* "two-bos 2 (<s>): 1 3; ...": checks, records, example, lines. */
static char *found(const ql_audit *a) {
    ql_str out = {0};
    for (int c = 0; c < QL_AUDIT_CHECKS; c++) {
        const ql_finding *f = &a->of[c];
        if (f->count == 0) continue;
        ql_str_printf(&out, "%s%s %lld", out.size ? "; " : "", ql_audit_rule_of((ql_audit_check)c)->name, (long long)f->count);
        if (f->example) ql_str_printf(&out, " (%s)", f->example);
        for (size_t i = 0; i < QL_LEN(f->place) && f->place[i]; i++) ql_str_printf(&out, "%s%s", i ? " " : ": ", strrchr(f->place[i], ':') + 1);
    }
    ql_str_puts(&out, "");
    return out.data;
}

static void expect_found(const ql_audit *a, const char *wanted) {
    char *got = found(a);
    assert_string_equal(got, wanted);
    free(got);
}

static reading read_as(const char *text, const folder_texts *f, int64_t max_length, const char *strategy) {
    reading        r = reading_of(file_of_text(0, text));
    ql_audit_facts facts;
    ql_tokenizer  *t = tokenizer_of(f, &facts);
    r.config.max_length = max_length;
    r.config.excess_length_strategy = (char *)(uintptr_t)strategy;
    r.options = (ql_corpus_options){.config = &r.config, .tokenizer = t, .facts = &facts, .training = true};
    r.files.item = r.spec;
    if (ql_bad(ql_corpus_read(&r.files, &r.options, &r.corpus))) fail_msg("%s", ql_err_text());
    ql_audit_facts_close(&facts);
    ql_tokenizer_close(t);
    return r;
}

static void expect(const char *wanted, const folder_texts *f, const char *text) {
    reading r = read_as(text, f, 64, "drop");
    expect_found(&r.corpus.audit, wanted);
    done_with(&r);
}

#define QA(n) "{\"question\": \"one and " #n "\", \"answer\": \"two\"}\n"
#define TEXT(text) "{\"text\": \"" text "\"}\n"

static void test_clean(void **state) {
    (void)state;
    expect("", &usual, QA(1) QA(2) "{\"question\": \"what\", \"answer\": \"an end</s>\"}\n");
    expect("", &chat, QA(1) QA(2));
    expect("", &usual, TEXT("plain words") TEXT("more of them</s>") TEXT("") TEXT("it goes on</s> and <|im_start|>user") TEXT("<|>, <||>, <|a b|>") TEXT("a <|x| [INST] b") TEXT("<|user|>") TEXT("a <|> b, if a <|b, <b>, </b>"));
    expect("", &usual, "{\"prompt\": \"a b \", \"completion\": \"c d\"}\n");
    expect("", &endless, TEXT("nothing here can end"));
}

static void test_texts(void **state) {
    (void)state;
    expect("empty-completion 1: 3; empty-prompt 2: 2 4", &usual,
           "{\"prompt\": \"a\\n\", \"completion\": \"b\"}\n{\"prompt\": \"\", \"completion\": \"b\"}\n{\"prompt\": \"a\\n\", \"completion\": \"\"}\n"
           "{\"prompt\": \"\", \"completion\": \"c\"}\n");
    expect("two-bos 2 (<s>): 1 3", &usual, TEXT("<s>one") TEXT("two<s><s>") TEXT("<s>"));
    expect("empty-completion 2: 1 2; no-targets 2: 1 2", &endless,
           "{\"prompt\": \"a\", \"completion\": \"\"}\n{\"prompt\": \"a\", \"completion\": \"\"}\n{\"prompt\": \"a \", \"completion\": \"b c\"}\n");
    expect("prompt-changed 1: 2", &usual, "{\"prompt\": \"the\\n\", \"completion\": \"b\"}\n{\"prompt\": \"the ca\", \"completion\": \"t is\"}\n");
    expect("special-in-text 2 (</s>): 2 3", &usual,
           QA(1) "{\"question\": \"what is </s>\", \"answer\": \"an end\"}\n{\"question\": \"go\", \"answer\": \"<|im_end|> it\"}\n");
    expect("duplicate 2: 2 4", &usual, TEXT("a") TEXT("a") TEXT("b") TEXT("a"));
}

/* As of another model: bars, wide bars, and Gemma's. */
static void test_stray_tokens(void **state) {
    (void)state;
    expect("stray-token 5 (<|eot_id|>): 2 3 4", &usual,
           TEXT("<|im_end|>a") TEXT("a<|eot_id|>") TEXT("<\xEF\xBD\x9C" "end\xE2\x96\x81of\xEF\xBD\x9C>") TEXT("x <start_of_turn>") TEXT("<turn|>") TEXT("<|turn>"));
}

static void test_lengths(void **state) {
    (void)state;
    static const char text[] = TEXT("a") TEXT("0 1 2 3 4 5 6 7 8 9 0 1 2") TEXT("b");
    for (int truncate = 0; truncate < 2; truncate++) {
        reading r = read_as(text, &usual, 8, truncate ? "truncate" : "drop");
        expect_found(&r.corpus.audit, "lost 1: 2");
        assert_int_equal(r.corpus.audit.records, 3);
        assert_int_equal(ql_audit_length(&r.corpus.audit, 0.6), 4);
        int64_t all = ql_audit_length(&r.corpus.audit, 0.99);
        done_with(&r);
        r = read_as(text, &usual, all, "error"); /* that length is enough, */
        expect_found(&r.corpus.audit, "");
        assert_int_equal(r.corpus.document[1].length, all); /* and no less would be */
        done_with(&r);
    }
    reading cut = read_as(TEXT("0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2"), &usual, 32, "truncate");
    expect_found(&cut.corpus.audit, "lost 1: 1");
    done_with(&cut);
    expect("positions 1: 2", &usual, TEXT("a") TEXT("0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2")); /* made for 32 */
}

/* More than are read at a time, by several threads: still the first places. */
static void test_order(void **state) {
    (void)state;
    ql_str text = {0};
    for (int i = 1; i <= 3000; i++) ql_str_printf(&text, "{\"text\": \"%s%d\"}\n", i > 900 && i % 2 == 0 ? "<s>" : "", i);
    expect("two-bos 1050 (<s>): 902 904 906", &usual, text.data);
    ql_str_free(&text);
}

/* ---- ends ---- */

/* "{" and "}" are around what is trained on. */
static ql_tokens tokens_of(const ql_tokenizer *t, const char *text) {
    ql_tokens   tokens = {0};
    ql_encoder *e = ql_encoder_open(t);
    bool        target = false;
    while (*text) {
        size_t n = strcspn(text, "{}"), before = tokens.ids.count;
        assert_false(ql_bad(ql_encode(e, text, n, false, &tokens.ids)));
        tokens.is_target = ql_realloc(tokens.is_target, tokens.ids.count + 1);
        memset(tokens.is_target + before, target, tokens.ids.count - before);
        text += n;
        if (*text) target = *text++ == '{';
    }
    ql_encoder_close(e);
    return tokens;
}

static void test_ends(void **state) {
    (void)state;
    static const struct {
        const folder_texts *folder;
        const char         *text, *wanted;
    } row[] = {
        {&chat, "<|im_start|>ask<|im_end|>\n<|im_start|>{say<|im_end|>}\n", ""},
        {&chat, "<|im_start|>ask<|im_end|>\n<|im_start|>{say<|im_end|>\n}", ""},
        {&chat, "<s>{say<|im_end|>}ask{say</s>}", ""},
        {&chat, "{say}<|im_end|>ask{say<|im_end|>}", "end-untrained (<|im_end|>)"},
        {&chat, "{say}\n<|im_end|>", "end-untrained (<|im_end|>)"},
        {&chat, "ask{say}", "end-missing"},
        {&chat, "ask{say}\n", "end-missing"},
        {&chat, "{one}two{three<|im_end|>}", ""}, /* parts of a turn */
        {&chat, "ask<|im_end|>", ""},
        {&chat, "ask<|im_end|>{\n}", "end-missing"},
        {&chat, "ask{\n}\n<|im_end|>", "end-untrained (<|im_end|>)"},
        {&usual, "<|im_start|>ask<|im_end|>\n<|im_start|>{say<|im_end|>}\n", "end-not-stop (<|im_end|>)"},
        {&usual, "{say<|im_end|>}ask{say</s>}", ""},
        {&usual, "{say<|im_end|></s>}", ""},
        {&endless, "ask{say}", ""},
        {&other_stop, "ask{say</s>}", "end-not-stop (</s>)"},
        {&other_stop, "ask{say<|im_end|>}", ""},
        {&derived, "ask{say</s>}", ""},
        {&derived, "ask{say<s>}", ""},
        {&derived, "ask{say<|im_end|>}", "end-not-stop (<|im_end|>)"},
    };
    for (size_t i = 0; i < QL_LEN(row); i++) {
        ql_audit_facts facts;
        ql_tokenizer  *t = tokenizer_of(row[i].folder, &facts);
        ql_tokens      tokens = tokens_of(t, row[i].text);
        ql_findings    f = {0};
        ql_audit       a = {0};
        ql_audit_tokens(&facts, false, &(ql_record){0}, &tokens, &f);
        ql_audit_record(&a, &f, 1, "x", 1);
        char *got = found(&a), *wanted = row[i].wanted[0] ? ql_format("%.*s 1%s: 1", (int)strcspn(row[i].wanted, " "), row[i].wanted, strchr(row[i].wanted, ' ') ? strchr(row[i].wanted, ' ') : "") : ql_strdup("");
        if (strcmp(got, wanted) != 0) fail_msg("%s: \"%s\", not \"%s\"", row[i].text, got, wanted);
        free(got), free(wanted);
        ql_audit_free(&a);
        ql_findings_free(&f);
        ql_tokens_free(&tokens);
        ql_audit_facts_close(&facts);
        ql_tokenizer_close(t);
    }
}

/* ---- conversations ---- */

#define CHATML "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
#define MESSAGE(role, text) "{\"role\": \"" role "\", \"content\": \"" text "\"}"
#define CHAT(messages) "{\"messages\": [" messages "]}\n"
#define ASK(text) MESSAGE("user", text) ", "
#define SAY(text) MESSAGE("assistant", text)
#define RULE MESSAGE("system", "be brief") ", "

static const char *train_on;

static void expect_chat(const char *wanted, const folder_texts *f, const char *template, const char *text) {
    ql_chat        its;
    reading        r = reading_of(file_of_text(0, text));
    ql_audit_facts facts;
    ql_tokenizer  *t = tokenizer_of(f, &facts);
    named_text("chat_template.jinja", template);
    if (ql_bad(ql_chat_open(scratch(), NULL, &its))) fail_msg("%s", ql_err_text());
    r.options = (ql_corpus_options){.config = &r.config, .tokenizer = t, .facts = &facts, .training = true, .chat = &its};
    r.files.item = r.spec;
    facts.positions = 1000;
    r.config.train_on = (char *)(uintptr_t)train_on;
    if (ql_bad(ql_corpus_read(&r.files, &r.options, &r.corpus))) fail_msg("%s", ql_err_text());
    expect_found(&r.corpus.audit, wanted);
    done_with(&r);
    ql_chat_close(&its);
    ql_audit_facts_close(&facts);
    ql_tokenizer_close(t);
}

static void test_good_chats(void **state) {
    (void)state;
    expect_chat("", &chat, CHATML, CHAT(ASK("hi") SAY("ho")) CHAT(RULE ASK("hi") SAY(" ho ") ", " ASK("and") SAY("<think>\\nhm</think>\\n\\nso")));
    expect_chat("", &chat, "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content | trim + '<|im_end|>\n' }}{% endfor %}",
                CHAT(RULE ASK("  hi \\n") SAY("\\nho ")));
    expect_chat("", &usual, "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}",
                CHAT(RULE ASK("hi") SAY("ho") ", " ASK("hi") SAY("he")));
    expect_chat("", &chat, CHATML, "{\"prompt\": [" MESSAGE("user", "hi") "], \"completion\": [" SAY("ho") "]}\n");
    expect_chat("", &chat, CHATML, "{\"prompt\": [" MESSAGE("user", "hi") "], \"chosen\": [" SAY("ho") "], \"rejected\": [" SAY("he") "]}\n");
}

static void test_open_end(void **state) {
    (void)state;
    train_on = "all"; /* it is nobody's turn */
    expect_chat("", &usual, "{% for m in messages %}{{ m.role }}: {{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}",
                CHAT(ASK("hi") SAY("ho") ", " MESSAGE("user", "and")));
    train_on = NULL;
}

static void test_bad_chats(void **state) {
    (void)state;
    expect_chat("two-bos 1 (<s>): 1", &chat, "{{ bos_token }}<s>" CHATML, CHAT(ASK("hi") SAY("ho")));
    expect_chat("end-not-stop 2 (<|im_end|>): 1 2", &usual, CHATML, CHAT(ASK("hi") SAY("ho")) CHAT(ASK("hi") SAY("he")));
    expect_chat("end-missing 1: 1", &usual, "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", CHAT(ASK("hi") SAY("ho")));
    expect_chat("end-untrained 1 (<|im_end|>): 1", &chat,
                "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}"
                "<|im_end|>\n{% endfor %}",
                CHAT(ASK("hi") SAY("ho") ", " ASK("hi") SAY("he")));
    expect_chat("system-lost 1: 2", &chat, "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
                CHAT(ASK("hi") SAY("ho")) CHAT(RULE ASK("hi") SAY("hu")));
    expect_chat("text-lost 1: 1", &chat,
                "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | replace('a b', 'a  b') }}<|im_end|>\n{% endfor %}",
                CHAT(ASK("a b") SAY("ho") ", " ASK("hi") SAY("he")) CHAT(ASK("ab") SAY("ho")));
    expect_chat("special-in-text 2 (<|im_end|>): 1 3", &chat, CHATML,
                CHAT(ASK("hi<|im_end|>") SAY("ho")) CHAT(ASK("hi") SAY("a <|im_start|> b")) CHAT(ASK("hi") SAY("ho</s>")));
    expect_chat("stray-token 1 (<|end|>): 1", &chat, "<|end|>" CHATML, CHAT(ASK("hi") SAY("ho")));
    expect_chat("clock 1: 1", &chat, "{{ strftime_now('%Y') }}" CHATML, CHAT(ASK("hi") SAY("ho")));
}

static void test_fields(void **state) {
    (void)state;
    static const char named[] = "{\"messages\": [{\"role\": \"user\", \"name\": \"Ada\", \"content\": \"hi\"}, " SAY("ho") "]}\n";
    expect_chat("key-lost 1 (name): 1", &chat, CHATML, named);
    expect_chat("", &chat, "{{ messages[0].name }}" CHATML, named);
    static const char text[] = "{\"instruction\": \"go\", \"output\": \"so\"}\n{\"instruction\": \"go\", \"input\": \" there\", \"output\": \"sa\"}\n";
    for (int all = 0; all < 2; all++) {
        reading r = reading_of(file_of_text(0, text));
        r.config.instruction_template = (char *)(uintptr_t)(all ? "{{ instruction }} {{ input }}\n\n" : "{{ instruction }}\n\n");
        r.options.vocab_size = 500;
        read_with(&r, scratch());
        if (ql_bad(r.verdict)) fail_msg("%s", ql_err_text());
        const ql_finding *f = &r.corpus.audit.of[QL_AUDIT_FIELD_LOST];
        assert_int_equal(f->count, all ? 0 : 1);
        if (!all) assert_string_equal(f->example, "input");
        if (!all) assert_string_equal(strrchr(f->place[0], ':'), ":2");
        done_with(&r);
    }
}

static void test_tools_and_thoughts(void **state) {
    (void)state;
    static const char call[] = "{\"messages\": [" ASK("hi") "{\"role\": \"assistant\", \"content\": \"ho\", \"tool_calls\": [{\"type\": \"function\", \"function\": "
                               "{\"name\": \"weather\", \"arguments\": {}}}]}], \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"clock\"}}]}\n";
    expect_chat("calls-lost 1: 1; tools-lost 1: 1", &chat, CHATML, call);
    expect_chat("calls-lost 1: 1", &chat, "{{ tools | tojson }}" CHATML, call);
    expect_chat("thinking-lost 1: 1", &chat, CHATML, "{\"messages\": [" ASK("hi") "{\"role\": \"assistant\", \"content\": \"ho\", \"reasoning_content\": \"hm\"}]}\n");
}

/* ---- sets, and the model ---- */

static void test_overlap(void **state) {
    (void)state;
    reading train = read_as(TEXT("a") TEXT("b") TEXT("c") TEXT("d"), &usual, 64, "drop");
    reading eval = read_as(TEXT("e") TEXT("d") TEXT("a") TEXT("f") TEXT("b") TEXT("c"), &usual, 64, "drop");
    ql_overlap_find(&train.corpus, &eval.files, &eval.config, &eval.corpus);
    expect_found(&eval.corpus.audit, "in-train 4: 2 3 5");
    done_with(&train);
    train = read_as(TEXT("x") TEXT("y"), &usual, 64, "drop");
    ql_audit_free(&eval.corpus.audit);
    ql_overlap_find(&train.corpus, &eval.files, &eval.config, &eval.corpus);
    expect_found(&eval.corpus.audit, "");
    done_with(&train);
    done_with(&eval);
}

/* Numbers that are multiples of 3, and of 7. */
static void test_much_overlap(void **state) {
    (void)state;
    ql_str threes = {0}, sevens = {0};
    for (int i = 0; i < 3000; i += 3) ql_str_printf(&threes, "{\"text\": \"%d\"}\n", i);
    for (int i = 0; i < 3000; i += 7) ql_str_printf(&sevens, "{\"text\": \"%d\"}\n", i);
    reading train = read_as(threes.data, &usual, 64, "drop"), eval = read_as(sevens.data, &usual, 64, "drop");
    ql_overlap_find(&train.corpus, &eval.files, &eval.config, &eval.corpus);
    expect_found(&eval.corpus.audit, "in-train 143: 1 4 7");
    done_with(&train);
    done_with(&eval);
    ql_str_free(&threes);
    ql_str_free(&sevens);
}

static void expect_model(const char *wanted, const folder_texts *f, const char *config, int64_t vocab) {
    ql_audit_facts facts;
    ql_audit       a = {0};
    named_text("config.json", config);
    ql_tokenizer *t = tokenizer_of(f, &facts);
    facts.vocab = vocab;
    ql_audit_model(&facts, &a);
    char *got = ql_strdup("");
    for (int c = QL_AUDIT_JOB_CHECKS; c < QL_AUDIT_CHECKS; c++) {
        if (a.of[c].count == 0) continue;
        char *more = ql_format("%s%s%s %s", got, got[0] ? "; " : "", ql_audit_rule_of((ql_audit_check)c)->name, a.of[c].example ? a.of[c].example : "");
        free(got);
        got = more;
    }
    assert_string_equal(got, wanted);
    free(got);
    ql_audit_free(&a);
    ql_audit_facts_close(&facts);
    ql_tokenizer_close(t);
    named_text("config.json", "{}");
}

/* What config.json says may have come from nobody. */
static void test_stops(void **state) {
    (void)state;
    static const struct {
        const char *generation, *config;
        bool        eos, other; /* whether </s> and <|im_end|> stop */
    } row[] = {{"{}", "{\"eos_token_id\": 461}", true, true},
               {"{\"eos_token_id\": 461}", "{\"eos_token_id\": 2}", false, true},
               {"{\"eos_token_id\": [461, 2]}", "{}", true, true},
               {"{\"eos_token_id\": [461], \"_from_model_config\": true}", "{}", true, true},
               {"{\"eos_token_id\": null}", "{\"eos_token_id\": [3, \"x\", -1, 461.0]}", true, false}};
    for (size_t i = 0; i < QL_LEN(row); i++) {
        folder_texts   f = {usual.tokenizer, row[i].generation};
        ql_audit_facts facts;
        named_text("config.json", row[i].config);
        ql_tokenizer *t = tokenizer_of(&f, &facts);
        assert_int_equal(ql_audit_stops(&facts, 2), row[i].eos);
        assert_int_equal(ql_audit_stops(&facts, 461), row[i].other);
        ql_audit_facts_close(&facts);
        ql_tokenizer_close(t);
    }
    named_text("config.json", "{}");
}

static void test_model(void **state) {
    (void)state;
    static const char none[] = "{}", ids[] = "{\"bos_token_id\": 1, \"eos_token_id\": 2}", other[] = "{\"bos_token_id\": 5, \"eos_token_id\": 7}";
    static const folder_texts plain = {"{" CHAT_TOKENS ", \"eos_token\": \"</s>\"}", none};
    expect_model("", &usual, none, 512);
    expect_model("bos-differs <s> is 1; config.json has 5", &usual, other, 512); /* of eos, generation_config.json counts */
    expect_model("", &plain, ids, 512);
    expect_model("", &chat, ids, 462);
    expect_model("eos-differs </s> is 2; config.json has 7; bos-differs <s> is 1; config.json has 5", &plain, other, 512);
    expect_model("eos-differs </s> is 2; generation_config.json has 461", &other_stop, none, 512);
    expect_model("eos-differs </s> is 2; generation_config.json has 1", &derived, none, 512);
    expect_model("no-eos ", &endless, none, 512);
    expect_model("large-vocabulary 462 and 461", &usual, none, 461);
    expect_model("small-vocabulary 462 and 32000", &usual, none, 32000);
}

/* ---- judging ---- */

static ql_audit made(int64_t records, ql_audit_check c, int64_t bad) {
    ql_audit    a = {0};
    ql_findings none = {0};
    for (int64_t i = 1; i <= records; i++) ql_audit_record(&a, &none, (size_t)i, "data.jsonl", (size_t)i);
    for (int64_t i = 1; i <= bad; i++) ql_audit_place(&a, c, "data.jsonl", (size_t)(10 * i));
    return a;
}

static ql_severity severity_of(int64_t records, ql_audit_check c, int64_t bad) {
    ql_config   config = {.audit_max_untargeted = 0.01, .audit_max_lost = 0.1};
    ql_audit    a = made(records, c, bad);
    ql_severity s = ql_audit_severity(&a, c, &config);
    ql_audit_free(&a);
    return s;
}

static void test_limits(void **state) {
    (void)state;
    assert_int_equal(severity_of(200, QL_AUDIT_NO_TARGETS, 0), QL_AUDIT_NOTHING);
    assert_int_equal(severity_of(200, QL_AUDIT_NO_TARGETS, 2), QL_AUDIT_WARNING);
    assert_int_equal(severity_of(200, QL_AUDIT_NO_TARGETS, 3), QL_AUDIT_ERROR);
    assert_int_equal(severity_of(200, QL_AUDIT_LOST, 20), QL_AUDIT_NOTE);
    assert_int_equal(severity_of(200, QL_AUDIT_LOST, 21), QL_AUDIT_ERROR);
    assert_int_equal(severity_of(3, QL_AUDIT_LOST, 2), QL_AUDIT_NOTE);
    assert_int_equal(severity_of(3, QL_AUDIT_LOST, 3), QL_AUDIT_ERROR);
    assert_int_equal(severity_of(200, QL_AUDIT_EMPTY_PROMPT, 200), QL_AUDIT_NOTE);
    assert_int_equal(severity_of(200, QL_AUDIT_DUPLICATE, 2), QL_AUDIT_NOTHING);
    assert_int_equal(severity_of(200, QL_AUDIT_DUPLICATE, 3), QL_AUDIT_NOTE);
    ql_config without = {.deduplicate = true};
    ql_audit  a = made(200, QL_AUDIT_DUPLICATE, 100);
    assert_int_equal(ql_audit_severity(&a, QL_AUDIT_DUPLICATE, &without), QL_AUDIT_NOTHING);
    ql_audit_free(&a);
}

static void test_verdict(void **state) {
    (void)state;
    ql_config  config = {.audit_max_untargeted = 0.01, .audit_max_lost = 0.1};
    ql_audit   train = made(200, QL_AUDIT_LOST, 50), job = {0};
    ql_audited set[] = {{"", &job, false}, {"", &train, true}};
    ql_str     table = {0}, report = {0};
    ql_audit_fact(&job, QL_AUDIT_NO_EOS, NULL, NULL);
    ql_audit_table(set, 2, &config, &table);
    assert_string_equal(table.data,
                        "audit    1 error, 1 warning in 200 records\n"
                        "         error    lost             50 of 200 records (25 %) are longer than max_length, and dropped or truncated\n"
                        "                                   data.jsonl:10, :20, :30 ...: raise max_length to 198, which 99 % of the records fit into, or let packing_strategy: wrapped cut them\n"
                        "         warning  no-eos           the tokenizer has no eos_token, so nothing teaches the model to stop\n"
                        "                                   name one in tokenizer_config.json\n");
    ql_err e = ql_audit_verdict(set, 2, &config);
    assert_int_equal(e.code, QL_DATA);
    assert_string_equal(ql_err_text(), "data.jsonl:10: 50 of 200 records (25 %) are longer than max_length, and dropped or truncated, this one first; "
                                       "raise max_length to 198, which 99 % of the records fit into, or let packing_strategy: wrapped cut them; audit: warn goes on all the same");
    ql_audit_place(&train, QL_AUDIT_TWO_BOS, "data.jsonl", 7);
    config.audit_max_untargeted = 0;
    assert_true(ql_bad(ql_audit_verdict(set, 2, &config))); /* the first of two */
    assert_non_null(strstr(ql_err_text(), "data.jsonl:7: 1 of 200 records (0.5 %) begin with two bos tokens, this one first; take "));
    assert_null(strstr(ql_err_text(), "max_length"));
    config.audit = (char *)(uintptr_t) "warn";
    assert_false(ql_bad(ql_audit_verdict(set, 2, &config)));
    ql_audit_report(set, 2, &config, &report);
    ql_json *json;
    assert_false(ql_bad(ql_json_parse(report.data, report.size, "report", 1, &json)));
    assert_int_equal(ql_json_int(ql_json_get(json, "errors"), -1), 2);
    assert_int_equal(ql_json_size(ql_json_get(json, "findings")), 3);
    ql_json_free(json);
    ql_str_free(&table);
    ql_str_free(&report);
    ql_audit_free(&train);
    ql_audit_free(&job);
}

static void test_nothing(void **state) {
    (void)state;
    ql_config  config = {.audit_max_untargeted = 0, .audit_max_lost = 0};
    ql_audit   train = made(7473, QL_AUDIT_LOST, 0);
    ql_audited set[] = {{"", &train, false}};
    ql_str     table = {0};
    ql_audit_table(set, 1, &config, &table);
    assert_string_equal(table.data, "audit    nothing found in 7473 records\n");
    assert_false(ql_bad(ql_audit_verdict(set, 1, &config)));
    ql_str_free(&table);
    ql_audit_free(&train);
}

/* ---- keeping ---- */

static void expect_same(const ql_audit *a, const ql_audit *b) {
    ql_str x = {0}, y = {0};
    ql_audit_put_json(a, &x);
    ql_audit_put_json(b, &y);
    assert_string_equal(x.data, y.data);
    ql_str_free(&x);
    ql_str_free(&y);
}

static bool read_back(const char *text, ql_audit *out) {
    ql_json *json;
    if (ql_bad(ql_json_parse(text, strlen(text), "audit", 1, &json))) fail_msg("%s", ql_err_text());
    ql_err e = ql_audit_read_json(json, out);
    ql_json_free(json);
    return !ql_bad(e);
}

static void test_json(void **state) {
    (void)state;
    reading  r = read_as("{\"text\": \"<s>\\u00e4\"}\n{\"text\": \"0 1 2 3 4 5 6 7 8 9 0 1 2\"}\n", &usual, 8, "drop");
    ql_str   text = {0};
    ql_audit again;
    ql_audit_put_json(&r.corpus.audit, &text);
    assert_true(read_back(text.data, &again));
    expect_same(&r.corpus.audit, &again);
    expect_found(&again, "two-bos 1 (<s>): 1; lost 1: 2");
    ql_audit_free(&again);
    ql_str_free(&text);
    done_with(&r);
    static const char *const broken[] = {
        "{}", "[]", "{\"records\": -1, \"findings\": [], \"lengths\": []}", "{\"records\": 1, \"findings\": {}, \"lengths\": []}",
        "{\"records\": 1, \"findings\": [{\"check\": \"other\", \"count\": 1}], \"lengths\": []}",
        "{\"records\": 1, \"findings\": [{\"check\": \"lost\", \"count\": 0}], \"lengths\": []}",
        "{\"records\": 1, \"findings\": [{\"check\": \"lost\", \"count\": 1, \"places\": [7]}], \"lengths\": []}",
        "{\"records\": 1, \"findings\": [{\"check\": \"lost\", \"count\": 1}, {\"check\": \"lost\", \"count\": 1}], \"lengths\": []}",
        "{\"records\": 1, \"findings\": [], \"lengths\": [[9000000, 1]]}", "{\"records\": 1, \"findings\": [], \"lengths\": [[5, 1], [3, 1]]}",
        "{\"records\": 1, \"findings\": [], \"lengths\": [[3, -1]]}",
    };
    for (size_t i = 0; i < QL_LEN(broken); i++)
        if (read_back(broken[i], &again)) fail_msg("accepted: %s", broken[i]);
}

static void test_adding(void **state) {
    (void)state;
    ql_audit a = made(20, QL_AUDIT_LOST, 2), b = made(30, QL_AUDIT_LOST, 2), none = {0};
    ql_audit_add(&a, &b);
    expect_found(&a, "lost 4: 10 20 10");
    assert_int_equal(a.records, 50);
    assert_int_equal(ql_audit_length(&a, 1), 30);
    assert_int_equal(ql_audit_length(&a, 0.4), 10);
    ql_audit_add(&none, &a);
    expect_same(&a, &none);
    ql_audit_free(&a);
    ql_audit_free(&b);
    ql_audit_free(&none);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),   cmocka_unit_test(test_texts),  cmocka_unit_test(test_stray_tokens), cmocka_unit_test(test_lengths), cmocka_unit_test(test_order),
        cmocka_unit_test(test_ends),    cmocka_unit_test(test_good_chats), cmocka_unit_test(test_open_end), cmocka_unit_test(test_bad_chats), cmocka_unit_test(test_tools_and_thoughts), cmocka_unit_test(test_fields), cmocka_unit_test(test_overlap), cmocka_unit_test(test_much_overlap), cmocka_unit_test(test_stops), cmocka_unit_test(test_model), cmocka_unit_test(test_limits), cmocka_unit_test(test_verdict), cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_json),    cmocka_unit_test(test_adding),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
