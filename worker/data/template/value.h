/* The values of templates: Python's, as far as templates can tell. All lie on a heap and are freed with it. */
#pragma once
#include "base/json.h"
#include "worker/data/template/heap.h"

typedef enum {
    JJ_MISSING, /* no argument given; never seen by templates */
    JJ_UNDEFINED,
    JJ_NONE,
    JJ_BOOL,
    JJ_INT,
    JJ_FLOAT,
    JJ_TEXT,
    JJ_LIST,
    JJ_DICT,
    JJ_NAMESPACE,
    JJ_LOOP,
    JJ_MACRO,
    JJ_FUNCTION,
    JJ_METHOD,
} jj_kind;

/* What a sequence is to Python. A generator gives its items once. */
typedef enum { JJ_PLAIN_LIST, JJ_TUPLE, JJ_RANGE, JJ_KEYS, JJ_VALUES, JJ_ITEMS, JJ_GENERATOR } jj_form;

typedef struct {
    const char *data; /* UTF-8, not terminated */
    size_t size;
    size_t chars; /* code points; only if counted */
    bool counted, marked; /* marked: `safe`; what is added to it by + is escaped */
} jj_text;

typedef struct jj_value jj_value;
typedef struct jj_list jj_list;
typedef struct jj_dict jj_dict;
typedef struct jj_loop jj_loop;
typedef struct jj_macro jj_macro;
typedef struct jj_method jj_method;
typedef struct jj_builtin jj_builtin;

struct jj_value {
    jj_kind kind;
    union {
        bool truth;
        int64_t whole;
        double real;
        jj_text *text; /* JJ_UNDEFINED: its name, or NULL */
        jj_list *list;
        jj_dict *dict; /* JJ_DICT and JJ_NAMESPACE */
        jj_loop *loop;
        const jj_macro *macro;
        const jj_builtin *function;
        const jj_method *method;
    };
};

struct jj_list {
    jj_value *at;
    size_t n, capacity;
    jj_form form;
};

typedef struct {
    jj_value key, value;
    uint64_t hash;
} jj_entry;
struct jj_dict {
    jj_entry *at; /* in order of insertion */
    size_t n, capacity;
    uint32_t *slots; /* 1 + index of an entry, 0: free; NULL while there are few */
    size_t n_slots;
};

static inline jj_value jj_none(void) { return (jj_value){.kind = JJ_NONE}; }
static inline jj_value jj_bool(bool b) { return (jj_value){.kind = JJ_BOOL, .truth = b}; }
static inline jj_value jj_int(int64_t i) { return (jj_value){.kind = JJ_INT, .whole = i}; }
static inline jj_value jj_float(double d) { return (jj_value){.kind = JJ_FLOAT, .real = d}; }
static inline jj_value jj_undefined(jj_text *name) { return (jj_value){.kind = JJ_UNDEFINED, .text = name}; }
static inline jj_value jj_of_text(jj_text *t) { return (jj_value){.kind = JJ_TEXT, .text = t}; }
static inline jj_value jj_of_list(jj_list *l) { return (jj_value){.kind = JJ_LIST, .list = l}; }
static inline jj_value jj_of_dict(jj_dict *d) { return (jj_value){.kind = JJ_DICT, .dict = d}; }
static inline bool jj_is_form(jj_value v, jj_form f) { return v.kind == JJ_LIST && v.list->form == f; }
/* Sequences with places: what can be indexed. */
static inline bool jj_is_indexed(jj_value v) { return v.kind == JJ_LIST && v.list->form <= JJ_RANGE; }
/* Bools are ints to Python. */
static inline bool jj_is_whole(jj_value v) { return v.kind == JJ_INT || v.kind == JJ_BOOL; }
static inline int64_t jj_whole(jj_value v) { return v.kind == JJ_BOOL ? v.truth : v.whole; }
static inline bool jj_is_number(jj_value v) { return jj_is_whole(v) || v.kind == JJ_FLOAT; }
static inline double jj_real(jj_value v) { return v.kind == JJ_FLOAT ? v.real : (double)jj_whole(v); }

/* The bytes are not copied by the first, and are by the second. */
jj_text *jj_text_at(jj_heap *h, const char *data, size_t size);
jj_text *jj_text_copy(jj_heap *h, const char *data, size_t size);
jj_text *jj_part(jj_heap *h, const jj_text *whole, size_t from, size_t to); /* bytes; marked as the whole is */
static inline jj_value jj_value_of(jj_heap *h, const char *word) { return jj_of_text(jj_text_at(h, word, __builtin_strlen(word))); }
bool jj_text_is(const jj_text *t, const char *word);

jj_list *jj_list_new(jj_heap *h, jj_form form);
void jj_push(jj_heap *h, jj_list *l, jj_value v);
jj_value jj_pair(jj_heap *h, jj_value a, jj_value b);

jj_dict *jj_dict_new(jj_heap *h);
jj_value jj_dict_get(jj_heap *h, const jj_dict *d, jj_value key); /* JJ_MISSING: no such key, or none that can be one */
bool jj_is_key(jj_heap *h, jj_value v); /* whether it can be one */
void jj_dict_put(jj_heap *h, jj_dict *d, jj_value key, jj_value value);
jj_value jj_from_json(jj_heap *h, const ql_json *v);

bool jj_truth(jj_value v);
const char *jj_kind_name(jj_value v); /* as Python calls it */
bool jj_equal(jj_heap *h, jj_value a, jj_value b);
int jj_order(jj_heap *h, jj_value a, jj_value b); /* < 0, 0, > 0; fails where Python has no order */
bool jj_contains(jj_heap *h, jj_value container, jj_value item);
size_t jj_length(jj_heap *h, jj_value v);
/* All that a for loop would see; a generator is empty afterwards. Not to be changed. */
const jj_list *jj_iterate(jj_heap *h, jj_value v);
