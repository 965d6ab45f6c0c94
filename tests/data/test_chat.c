/* Conversations to tokens and targets: what is rendered, where turns begin and end, what is refused and in which words. */
#include "tests/data/fixture.h"

#include <stdlib.h>
#include <string.h>

#include "worker/data/target/lost.h"
#include "worker/data/target/tails.h"
#include "worker/data/target/target.h"

static const char *setting = "auto", *kwargs;
static ql_tokens   made; /* facts of the last conversation */
static const ql_audit_facts *model;

/* One record by one template: its tokens as text with targets in braces, or what is said against it. Caller frees. */
static char *try_record(const char *template, const char *record) {
    ql_config              c = {.completion_only_loss = QL_AUTO, .train_on = (char *)(uintptr_t)setting};
    ql_dataset_spec        spec = {0};
    ql_field_names         names = ql_field_names_of(&spec, &c);
    ql_span                span = {record, strlen(record), 7};
    const ql_record_format *format;
    ql_chat                chat;
    ql_tokenizer          *t;
    ql_json               *json;
    ql_record              r = {0};
    assert_false(ql_bad(ql_tokenizer_open("", &t)));
    if (ql_bad(ql_chat_choose(scratch(), template[0] == '=' ? template + 1 : named_text("t.jinja", template), kwargs, &chat))) fail_msg("%s", ql_err_text());
    if (ql_bad(ql_span_parse(&span, "f", &json))) fail_msg("%s", ql_err_text());
    ql_encoder *encoder = ql_encoder_open(t);
    ql_err      e = ql_record_format_detect(&span, 1, "f", &names, &format);
    if (!ql_bad(e)) e = format->read(json, &names, &r);
    ql_tokens_free(&made);
    if (!ql_bad(e)) e = ql_tokens_make(encoder, &(ql_target_rules){t, &chat, ql_train_on_of(&c), model}, &r, &made);
    ql_corpus corpus = {.document = &(ql_document){.ids = made.ids.id, .is_target = made.is_target, .length = (int32_t)made.ids.count}, .documents = 1};
    char     *out = ql_bad(e) ? ql_format("%d: %s", e.code, ql_err_text()) : shown(&corpus, 0);
    ql_record_free(&r);
    ql_json_free(json);
    ql_encoder_close(encoder);
    ql_chat_close(&chat);
    ql_tokenizer_close(t);
    return out ? out : ql_strdup("");
}

static void expect(const char *template, const char *record, const char *wanted) {
    char *got = try_record(template, record);
    if (strcmp(got, wanted) != 0) fail_msg("%s\n  became  %s\n  wanted  %s", record, got, wanted);
    free(got);
}

static void refuse(const char *template, const char *record, const char *sentence) {
    char *got = try_record(template, record);
    if (!strstr(got, sentence) || strncmp(got, "65: ", 4) != 0) fail_msg("%s\n  became  %s\n  lacks   %s", record, got, sentence);
    free(got);
}

static void train_on(const char *what) {
    setting = what;
}

#define M(list) "{\"messages\": [" list "]}"
#define U(text) "{\"role\": \"user\", \"content\": \"" text "\"}"
#define A(text) "{\"role\": \"assistant\", \"content\": \"" text "\"}"
#define S(text) "{\"role\": \"system\", \"content\": \"" text "\"}"
#define TWO M(S("s") ", " U("q") ", " A("a") ", " U("r") ", " A("b"))

/* As ChatML has it, with </s> for the end. */
#define HEAD "{% for m in messages %}<{{ m.role }}>\n"
#define TAIL "</s>\n{% endfor %}{% if add_generation_prompt %}<assistant>\n{% endif %}"
static const char plain[] = HEAD "{{ m.content }}" TAIL;
static const char blocks[] = HEAD "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}</s>{{ '\n' }}{% endgeneration %}{% else %}{{ m.content }}</s>{{ '\n' }}{% endif %}"
                             "{% endfor %}{% if add_generation_prompt %}<assistant>\n{% endif %}";

static void test_what_is_trained_on(void **state) {
    (void)state;
    const char *both[] = {plain, blocks};
    for (size_t i = 0; i < 2; i++) {
        train_on("auto");
        expect(both[i], TWO, "<system>\ns</s>\n<user>\nq</s>\n<assistant>\n{a</s>\n}<user>\nr</s>\n<assistant>\n{b</s>\n}");
        assert_int_equal(made.turns, 2);
        assert_int_equal(made.turns_without_end, 0);
        assert_int_equal(made.end_id, 257);
        train_on("last");
        expect(both[i], TWO, "<system>\ns</s>\n<user>\nq</s>\n<assistant>\na</s>\n<user>\nr</s>\n<assistant>\n{b</s>\n}");
        expect(both[i], M(U("q") ", " A("a") ", " U("r")), "<user>\nq</s>\n<assistant>\n{a</s>\n}<user>\nr</s>\n");
        train_on("all");
        expect(both[i], M(U("q") ", " A("a")), "<{user>\nq</s>\n<assistant>\na</s>\n}");
        train_on("assistant");
        expect(both[i], M(U("q") ", " A("a") ", " A("b")), "<user>\nq</s>\n<assistant>\n{a</s>\n}<assistant>\n{b</s>\n}");
        expect(both[i], M(A("hi") ", " U("q") ", " A("a")), "<assistant>\n{hi</s>\n}<user>\nq</s>\n<assistant>\n{a</s>\n}");
        expect(both[i], M("{\"role\": \"assistant\", \"content\": \"x\", \"weight\": 0}, " U("q") ", " A("a")), "<assistant>\nx</s>\n<user>\nq</s>\n<assistant>\n{a</s>\n}");
    }
}

static void test_prompt_and_completion(void **state) {
    (void)state;
    static const char record[] = "{\"prompt\": [" U("q") ", " A("a") ", " U("r") "], \"completion\": [" A("b") ", " U("s") ", " A("c") "]}";
    train_on("auto"); /* as TRL: users of the completion, too */
    expect(plain, record, "<user>\nq</s>\n<assistant>\na</s>\n<user>\nr</s>\n<assistant>\n{b</s>\n<user>\ns</s>\n<assistant>\nc</s>\n}");
    train_on("assistant");
    expect(plain, record, "<user>\nq</s>\n<assistant>\na</s>\n<user>\nr</s>\n<assistant>\n{b</s>\n}<user>\ns</s>\n<assistant>\n{c</s>\n}");
    expect(blocks, record, "<user>\nq</s>\n<assistant>\na</s>\n<user>\nr</s>\n<assistant>\n{b</s>\n}<user>\ns</s>\n<assistant>\n{c</s>\n}");
    train_on("last");
    expect(plain, record, "<user>\nq</s>\n<assistant>\na</s>\n<user>\nr</s>\n<assistant>\nb</s>\n<user>\ns</s>\n<assistant>\n{c</s>\n}");
    train_on("auto");
    refuse(plain, "{\"prompt\": [" U("q") "], \"completion\": [" U("r") "]}", "\"completion\" has no message of the assistant");
    refuse(plain, "{\"prompt\": [" U("q") "], \"completion\": \"x\"}", "one of \"prompt\" and \"completion\" is a list of messages");
}

/* Thinking is shown in the last turn only, as Qwen3 does; what asks for an answer may open it. */
#define THINKING(asks) \
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' and m.reasoning_content and loop.last %}[{{ m.reasoning_content }}]{% endif %}" \
    "{{ m.content }}</s>\n{% endfor %}{% if add_generation_prompt %}<assistant>" asks "{% endif %}"
#define T(thought, text) "{\"role\": \"assistant\", \"reasoning_content\": \"" thought "\", \"content\": \"" text "\"}"

static void test_thinking(void **state) {
    (void)state;
    train_on("auto");
    static const char record[] = M(U("q") ", " T("x", "a") ", " U("r") ", " T("y", "b"));
    expect(THINKING(""), record, "<user>q</s>\n<assistant>{a</s>\n}<user>r</s>\n<assistant>{[y]b</s>\n}");
    expect(THINKING("["), record, "<user>q</s>\n<assistant>{a</s>\n}<user>r</s>\n<assistant>[{y]b</s>\n}");
    /* words that begin as thinking does are words */
    expect(THINKING("[["), M(U("q") ", " T("x", "[a") ", " U("r") ", " A("[")), "<user>q</s>\n<assistant>{[a</s>\n}<user>r</s>\n<assistant>{[</s>\n}");
    /* also where they begin as the words do that are tried in their place */
    expect(THINKING("ZZ"), M(U("q") ", " T("x", "Za") ", " U("r") ", " A("Z")), "<user>q</s>\n<assistant>{Za</s>\n}<user>r</s>\n<assistant>{Z</s>\n}");
    expect(THINKING("QQ"), M(U("q") ", " T("x", "Qa") ", " U("r") ", " A("Q")), "<user>q</s>\n<assistant>{Qa</s>\n}<user>r</s>\n<assistant>{Q</s>\n}");
    /* an end inside the words is not the end */
    expect(THINKING(""), M(U("q") ", " T("x", "a</s>a") ", " U("r") ", " A("b")), "<user>q</s>\n<assistant>{a</s>a</s>\n}<user>r</s>\n<assistant>{b</s>\n}");
    assert_int_equal(made.special_in_text, 1);
}

static void test_ends(void **state) {
    (void)state;
    train_on("auto");
    /* the end is another in the last turn */
    expect("{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ '</s>' if m.role != 'assistant' or loop.last else '</s> .' }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
           TWO, "<system>s</s><user>q</s><assistant>{a</s>} .<user>r</s><assistant>{b</s>}");
    /* nothing special ends a turn: what the template writes there does */
    expect("{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}", M(U("q") ", " A("a") ", " U("r")),
           "user: q\n\nassistant: {a\n\n}user: r\n\n");
    assert_int_equal(made.turns_without_end, 1);
    assert_int_equal(made.end_id, -1);
    /* no request for an answer at all */
    expect("{% for m in messages %}{{ '[' + m.content + ']' if m.role == 'user' else ' ' + m.content + '</s>' }}{% endfor %}", M(U("q") ", " A("a") ", " U("r") ", " A("b")),
           "[q]{ a</s>}[r]{ b</s>}");
}

/* Turns of which only the end is told by other words, which may end as these do. */
static void test_words_like_others(void **state) {
    (void)state;
    train_on("auto");
    expect(THINKING(""), M(U("QxQ") ", " T("x", "aZ") ", " U("r") ", " A("b")), "<user>QxQ</s>\n<assistant>{aZ</s>\n}<user>r</s>\n<assistant>{b</s>\n}");
    expect(THINKING(""), M(U("QxQ") ", " T("x", "aQ") ", " U("r") ", " A("b")), "<user>QxQ</s>\n<assistant>{aQ</s>\n}<user>r</s>\n<assistant>{b</s>\n}");
}

static void test_first_messages(void **state) {
    (void)state;
    train_on("auto");
    /* no messages are rendered otherwise than any */
    expect("{% for m in messages %}{{ '^' if loop.first }}<{{ m.role }}>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
           M(A("hi") ", " U("q") ", " A("a")), "^<assistant>{hi</s>}<user>q</s><assistant>{a</s>}");
    /* the first token is never a target */
    expect("{% for m in messages %}{{ m.content }}</s>{% endfor %}", M(A("hi") ", " U("q") ", " A("a")), "h{i</s>}q</s>{a</s>}");
}

static void test_blocks_in_macros(void **state) {
    (void)state;
    train_on("auto");
    expect("{% macro say(m) %}{% generation %}{{ m.content }}</s>{% endgeneration %}{% endmacro %}{% for m in messages %}<{{ m.role }}>{{ say(m) }}{% endfor %}"
           "{% if add_generation_prompt %}<assistant>{% endif %}", M(U("q") ", " A("a")), "<user>q</s><assistant>{a</s>}");
}

static void test_tails(void **state) {
    (void)state;
    ql_json *json;
    ql_chat  chat;
    ql_str   whole = {0};
    ql_tails tails = {0};
    size_t   to = 0;
    static const char record[] = "[" U("q") "," A("a") "," U("r") "," A("b") "," U("s") "]";
    assert_false(ql_bad(ql_json_parse(record, strlen(record), "record", 1, &json)));
    assert_false(ql_bad(ql_chat_choose(scratch(), named_text("t.jinja", plain), NULL, &chat)));
    const ql_json *message[5];
    for (size_t i = 0; i < 5; i++) message[i] = ql_json_at(json, i);
    ql_dialogue d = {.chat = &chat, .template = chat.template, .message = message, .messages = 5};
    assert_false(ql_bad(ql_dialogue_render(&d, 5, false, &whole, NULL)));
    const char *second = strstr(whole.data, "b</s>"), *first = strstr(whole.data, "a</s>");
    assert_true(ql_tails_end(&tails, &d, &whole, 1, (size_t)(first - whole.data), (size_t)(second - whole.data), &to));
    assert_memory_equal(whole.data + to, "<user>\nr", 8);
    assert_true(ql_tails_end(&tails, &d, &whole, 3, (size_t)(second - whole.data), whole.size, &to));
    assert_memory_equal(whole.data + to, "<user>\ns", 8);
    assert_false(ql_tails_end(&tails, &d, &whole, 1, (size_t)(first - whole.data), (size_t)(second - whole.data) - 1, &to));
    assert_ptr_equal(message[3], ql_json_at(json, 3));
    ql_tails_free(&tails);
    ql_str_free(&whole);
    ql_chat_close(&chat);
    ql_json_free(json);
}

/* What begins the next message ends a turn that nothing else ends, if the model stops there. */
static void test_next_message_ends(void **state) {
    (void)state;
    train_on("auto");
    static const char heads[] = "{% for m in messages %}{{ '</s>' if m.role == 'user' else '.' }}{{ m.content }}{% endfor %}{% if add_generation_prompt %}.{% endif %}";
    static const char record[] = M(U("q") ", " A("a") ", " U("r") ", " A("b"));
    expect(heads, record, "</s>q.{a}</s>r.{b}");
    assert_int_equal(made.turns_without_end, 2);
    model = &(ql_audit_facts){.stop = (int32_t[]){257}, .stops = 1};
    expect(heads, record, "</s>q.{a</s>}r.{b}");
    assert_int_equal(made.turns_without_end, 1);
    model = NULL;
}

static void test_unstable_templates(void **state) {
    (void)state;
    train_on("auto");
    /* as Mistral moves the system text to the last message of the user */
    static const char moved[] = "{% for m in messages %}{% if m.role == 'user' %}[{% if loop.index0 >= messages | length - 2 %}{{ messages[0].content }} {% endif %}{{ m.content }}]"
                                "{% elif m.role == 'assistant' %}{{ m.content }}</s>{% endif %}{% endfor %}";
    refuse(moved, TWO, "message 3: where the assistant's turn begins cannot be told");
    refuse(moved, TWO, "from character 2 on, \"[s q]\" becomes \"[q]a</s>[s r]b</s>\"; set train_on to last");
    refuse("{{ messages | length }}" THINKING(""), TWO, "from character 1 on, \"2<system>s</s>\\n");
    train_on("last");
    expect(moved, TWO, "[q]a</s>[s r]{b</s>}");
    train_on("auto");
    refuse("{% for m in messages %}{% if m.role == 'user' %}[{% if loop.last %}{{ messages[0].content }} {% endif %}{{ m.content }}]{% elif m.role == 'assistant' %}{{ m.content }}</s>"
           "{% endif %}{% endfor %}", M(S("s") ", " U("q") ", " A("a")), "\"[s q]\" becomes \"[q]a</s>\"; set chat_template to one that never changes what it has written, or train_on to all");
    /* answered otherwise than asked */
    refuse("{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}(model){% endif %}", M(U("q") ", " A("a")),
           "from character 12 on, \"<user>q</s>(model)\" becomes");
}

static void test_templates_that_refuse(void **state) {
    (void)state;
    train_on("auto");
    static const char asks_user[] = "{% if messages | selectattr('role', 'equalto', 'user') | list | length == 0 %}{{ raise_exception('No user query found') }}{% endif %}"
                                    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    expect(asks_user, M(S("s") ", " A("a") ", " U("q") ", " A("b")), "<system>s</s><assistant>{a</s>}<user>q</s><assistant>{b</s>}");
    refuse(asks_user, M(A("a")), "the chat template cannot render the conversation: ");
    refuse(asks_user, M(A("a")), "No user query found");
    /* an answer that the template changes cannot be found by another */
    refuse("{% if messages | length < 3 %}{{ raise_exception('too short') }}{% endif %}{% for m in messages %}{{ m.role }} {{ m.content | upper }}</s>{% endfor %}",
           M(U("q") ", " A("a") ", " U("r") ", " A("b")), "too short; set train_on to last");
}

static void test_blocks_of_templates_that_refuse(void **state) {
    (void)state;
    static const char refuses[] = "{% if messages | length < 4 %}{{ raise_exception('too short') }}{% endif %}{% for m in messages %}<{{ m.role }}>"
                                  "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}</s>{% endgeneration %}{% else %}{{ m.content }}</s>{% endif %}{% endfor %}";
    train_on("last");
    expect(refuses, M(U("q") ", " A("a") ", " U("r") ", " A("b")), "<user>q</s><assistant>a</s><user>r</s><assistant>{b</s>}");
    train_on("auto");
    expect(refuses, M(U("q") ", " A("a") ", " U("r") ", " A("b")), "<user>q</s><assistant>{a</s>}<user>r</s><assistant>{b</s>}");
}

static void test_parts_and_kwargs(void **state) {
    (void)state;
    train_on("auto");
    static const char parts[] = M("{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"q\"}, {\"type\": \"text\", \"text\": \"r\"}]}, " A("a"));
    static const char knows[] = "{% for m in messages %}<{{ m.role }}>{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{{ p.text }}+{% endfor %}{% endif %}</s>"
                                "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    expect(knows, parts, "<user>q+r+</s><assistant>{a</s>}");
    assert_false(made.parts_joined);
    expect(plain, parts, "<user>\nqr</s>\n<assistant>\n{a</s>\n}");
    assert_true(made.parts_joined);
    expect("{% for m in messages %}<{{ m.role }}>{{ m.content if m.content is string }}</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}", parts,
           "<user>qr</s><assistant>{a</s>}");
    static const char shows[] = "{{ tools | length if tools }}{{ x }}{{ y }} {% for m in messages %}{{ m.content }}{% if m.tool_calls %}({{ m.tool_calls[0].function.arguments }}){% endif %}</s>"
                                "{% endfor %}";
    kwargs = "{\"x\": 1, \"y\": 2}";
    expect(shows, "{\"messages\": [" U("q") ", " A("a") "], \"tools\": \"[{\\\"name\\\": \\\"f\\\"}]\", \"chat_template_kwargs\": {\"y\": 3}}", "113 q</s>{a</s>}");
    assert_int_equal(made.lost, QL_LOST_TOOLS);
    kwargs = NULL;
    expect(shows, M(U("q") ", {\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": \"{}\"}}]}, "
                           "{\"role\": \"tool\", \"content\": \"\"}, " A("a")), " q</s>{({})</s>}</s>{a</s>}");
    assert_int_equal(made.lost, QL_LOST_CALLS);
    refuse(shows, "{\"messages\": [" U("q") ", " A("a") "], \"tools\": \"[\"}", "\"tools\" is a text that must be a list in JSON");
    refuse(shows, "{\"messages\": [" U("q") ", " A("a") "], \"chat_template_kwargs\": {\"tools\": []}}", "may not hold \"tools\"");
}

static void test_what_is_lost(void **state) {
    (void)state;
    train_on("auto");
    free(try_record("{% for m in messages if m.role != 'system' %}{{ m.content }}</s>{% endfor %}", M(S("Be kind.") ", " U("q") ", " A("a"))));
    assert_int_equal(made.lost, QL_LOST_SYSTEM);
    free(try_record(plain, M(U("q") ", " T("because", "a"))));
    assert_int_equal(made.lost, QL_LOST_THINKING);
    free(try_record(plain, M(U(" q ") ", " A("<think>x</think>a"))));
    assert_int_equal(made.lost, 0);
    assert_false(made.asked_clock);
    free(try_record("{{ strftime_now('%Y') }}{% for m in messages %}{{ m.content }}</s>{% endfor %}", M(U("q") ", " A("a"))));
    assert_true(made.asked_clock);
}

static void test_bad_messages(void **state) {
    (void)state;
    train_on("auto");
    refuse(plain, M(U("q")), "\"messages\" has no message of the assistant");
    refuse(plain, M("1"), "message 1 is an integer; expected {\"role\"");
    refuse(plain, M(U("q") ", {\"content\": \"x\"}"), "message 2 has no \"role\"");
    refuse(plain, M(U("q") ", {\"role\": 1}"), "message 2: the role is an integer");
    refuse(plain, M("{\"role\": \"narrator\", \"content\": \"x\"}"), "message 1: the role \"narrator\" is unknown; expected system, user, assistant or tool");
    refuse(plain, M(U("q") ", {\"role\": \"assistant\", \"content\": null}"), "message 2: the content is null; expected a string, or a list of text parts (only beside tool_calls");
    refuse(plain, M(U("q") ", {\"role\": \"assistant\"}"), "message 2: the content is absent");
    refuse(plain, M(U("")), "message 1: the content of the user is empty");
    refuse(plain, M(U("q") ", " A("")), "message 2: the content of the assistant is empty");
    refuse(plain, M("{\"role\": \"user\", \"content\": []}"), "message 1: the content of the user is empty");
    refuse(plain, M("{\"role\": \"user\", \"content\": [{\"type\": \"image\"}]}"), "message 1: part 1 of the content is of type \"image\"; only text");
    refuse(plain, M("{\"role\": \"user\", \"content\": [\"x\"]}"), "message 1: part 1 of the content is a string");
    refuse(plain, M(U("q") ", " S("s") ", " A("a")), "message 2 is a system message; only the first may be one");
    refuse(plain, M(S("s") ", " S("t") ", " A("a")), "message 2 is a system message");
    refuse(plain, M(U("q") ", {\"role\": \"assistant\", \"content\": \"x\", \"tool_calls\": {}}"), "message 2: tool_calls is an object");
    refuse(plain, "{\"messages\": {}}", "\"messages\" is an object; expected a list");
    refuse(plain, "{\"messages\": []}", "\"messages\" is empty");
}

static void test_built_in(void **state) {
    (void)state;
    train_on("auto");
    named_text("tokenizer_config.json", "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}");
    expect("=chatml", TWO, "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n{a<|im_end|>}\n<|im_start|>user\nr<|im_end|>\n<|im_start|>assistant\n{b<|im_end|>}\n");
    expect("=llama-2", TWO, "<s>[INST] <<SYS>>\ns\n<</SYS>>\n\nq [/INST]{ a </s>}<s>[INST] r [/INST]{ b </s>}");
    expect("=llama3", M(U("q") ", " A("a")), "<s><|start_header_id|>user<|end_header_id|>\n\nq<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n{a<|eot_id|>}");
    expect("=mistral", TWO, "<s>[INST] s\n\nq [/INST]{ a</s>}[INST] r [/INST]{ b</s>}");
    expect("=zephyr", M(S("s") ", " U("q") ", " A("a")), "<|system|>\ns</s>\n<|user|>\nq</s>\n<|assistant|>\n{a</s>}\n");
    expect("=gemma", TWO, "<s><start_of_turn>user\ns\n\nq<end_of_turn>\n<start_of_turn>model\n{a<end_of_turn>}\n<start_of_turn>user\nr<end_of_turn>\n<start_of_turn>model\n{b<end_of_turn>}\n");
    expect("=alpaca", M(S("s") ", " U("q") ", " A("a")), "<s>s\n\n### Instruction:\nq\n\n### Response:\n{a</s>}\n\n");
    refuse("=auto", M(U("q") ", " A("a")), "the model has no chat template");
    ql_chat chat;
    assert_int_equal(ql_chat_choose(scratch(), "chatnl", NULL, &chat).code, QL_USAGE);
    assert_non_null(strstr(ql_err_text(), "chat_template is \"chatnl\"; expected auto, a file (with a / or ending in .jinja)"));
}

static void test_named_templates(void **state) {
    (void)state;
    train_on("auto");
    named_text("tokenizer_config.json", "{\"chat_template\": [{\"name\": \"default\", \"template\": \"D{% for m in messages %}{{ m.content }}{% endfor %}\"}, "
                                        "{\"name\": \"tool_use\", \"template\": \"T{% for m in messages %}{{ m.content }}{% endfor %}\"}]}");
    expect("=auto", M(U("q") ", " A("a")), "Dq{a}");
    expect("=auto", "{\"messages\": [" U("q") ", " A("a") "], \"tools\": [{\"name\": \"f\"}]}", "Tq{a}");
    expect("=tool_use", M(U("q") ", " A("a")), "Tq{a}");
    /* what cannot be used stops only those who need it */
    named_text("tokenizer_config.json", "{\"chat_template\": [{\"name\": \"rag\", \"template\": \"\"}]}");
    refuse("=auto", M(U("q") ", " A("a")), "the chat template of the model cannot be used: ");
    refuse("=auto", M(U("q") ", " A("a")), "no chat template is called \"default\"; there are: rag; set chat_template to another");
    named_text("chat_template.jinja", "{% for m in %}");
    refuse("=auto", M(U("q") ", " A("a")), "/chat_template.jinja:1: ");
    expect("=auto", "{\"prompt\": \"q\", \"completion\": \"a\"}", "<s>q{a</s>}");
    expect("=chatml", M(U("q") ", " A("a")), "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n{a<|im_end|>}\n");
}

static int forget(void **state) {
    ql_tokens_free(&made);
    return remove_scratch(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_trained_on),
        cmocka_unit_test(test_prompt_and_completion),
        cmocka_unit_test(test_thinking),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_words_like_others),
        cmocka_unit_test(test_first_messages),
        cmocka_unit_test(test_blocks_in_macros),
        cmocka_unit_test(test_tails),
        cmocka_unit_test(test_next_message_ends),
        cmocka_unit_test(test_unstable_templates),
        cmocka_unit_test(test_templates_that_refuse),
        cmocka_unit_test(test_blocks_of_templates_that_refuse),
        cmocka_unit_test(test_parts_and_kwargs),
        cmocka_unit_test(test_what_is_lost),
        cmocka_unit_test(test_bad_messages),
        cmocka_unit_test(test_built_in),
        cmocka_unit_test(test_named_templates),
    };
    return cmocka_run_group_tests(tests, make_scratch, forget);
}
