#include "worker/data/template/messages.h"

#include "base/ql.h"

static jj_value reasoning(jj_heap *h, const jj_dict *message) {
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    for (size_t i = 0; i < QL_LEN(names); i++) {
        jj_value v = jj_dict_get(h, message, jj_value_of(h, names[i]));
        if (v.kind != JJ_MISSING && v.kind != JJ_NONE) return v;
    }
    return (jj_value){.kind = JJ_MISSING};
}

static jj_value usual_message(jj_heap *h, const jj_dict *message) {
    jj_dict *made = jj_dict_new(h);
    jj_value thought = reasoning(h, message);
    if (thought.kind != JJ_MISSING) jj_dict_put(h, made, jj_value_of(h, "thinking"), thought);
    for (size_t i = 0; i < message->n; i++)
        if (message->at[i].value.kind != JJ_NONE) jj_dict_put(h, made, message->at[i].key, message->at[i].value);
    if (thought.kind != JJ_MISSING) jj_dict_put(h, made, jj_value_of(h, "reasoning_content"), thought);
    return jj_of_dict(made);
}

jj_value jj_usual_messages(jj_heap *h, jj_value messages) {
    if (messages.kind != JJ_LIST) jj_fail(h, "messages is of type %s, not a list", jj_kind_name(messages));
    jj_list *made = jj_list_new(h, JJ_PLAIN_LIST);
    for (size_t i = 0; i < messages.list->n; i++) {
        jj_value m = messages.list->at[i];
        if (m.kind != JJ_DICT) jj_fail(h, "message %zu is of type %s, not an object", i + 1, jj_kind_name(m));
        jj_push(h, made, usual_message(h, m.dict));
    }
    return jj_of_list(made);
}
