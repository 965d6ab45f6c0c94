/* A rendering in progress. */
#pragma once
#include "worker/data/template/template.h"
#include "worker/data/template/tree.h"

typedef struct {
    const jj_text *name; /* interned: compared by pointer */
    jj_value value;
} jj_binding;
typedef struct jj_scope jj_scope;
struct jj_scope {
    jj_scope *parent;
    jj_binding *at;
    size_t n, capacity;
    bool kept; /* a macro looks into it */
};

typedef struct {
    jj_heap *h;
    jj_dict *variables;
    jj_scope *scope;
    jj_buffer *out;  /* where statements write */
    jj_buffer *page; /* the outermost of these: the rendered text */
    bool in_generation;
    ql_ranges *spans; /* or NULL */
    int64_t now;
    bool asked_clock;
    const jj_text *loop; /* the name */
} jj_run;

struct jj_loop {
    const jj_list *items;
    size_t index;
    jj_value seen; /* by changed() */
};
struct jj_macro {
    const jj_node *node;
    jj_scope *scope;
};
struct jj_method {
    jj_value self;
    const jj_builtin *what;
};

/* Arguments as a builtin sees them: `at` in the order of its parameters, JJ_MISSING where none was given. A builtin whose
 * parameters are "*" gets them as they stand: n without a name, then n_keys with one. */
typedef struct {
    jj_value *at;
    size_t n;
    const jj_text **keys;
    jj_value *key_values;
    size_t n_keys;
} jj_arguments;

struct jj_builtin {
    const char *name;
    const char *parameters; /* names with blanks between, "" or "*" */
    size_t least;           /* how many must be given */
    jj_value (*run)(jj_run *r, jj_value self, const jj_arguments *a);
};
typedef struct {
    const jj_builtin *at;
    size_t n;
} jj_table;
extern const jj_table jj_text_filters, jj_list_filters, jj_tests, jj_functions, jj_text_methods, jj_list_methods, jj_view_methods, jj_dict_methods,
    jj_loop_methods;
const jj_builtin *jj_look_up(const jj_table *t, const jj_text *name); /* NULL: not there */

/* evaluate.c */
jj_value jj_evaluate(jj_run *r, const jj_node *n);
jj_value jj_filtered(jj_run *r, const jj_node *filters, jj_value v); /* through JJ_FILTERs whose innermost has no `first` */
jj_value *jj_bind(jj_run *r, jj_scope *s, const jj_text *name, jj_value v);
jj_scope *jj_scope_new(jj_run *r, jj_scope *parent);

/* member.c: what stands behind a dot or in brackets; undefined if nothing does. */
jj_value jj_attribute(jj_run *r, jj_value of, jj_text *name);
jj_value jj_item(jj_run *r, jj_value of, jj_value key);
jj_value jj_slice(jj_run *r, jj_value of, jj_value from, jj_value to, jj_value step);

/* call.c */
jj_arguments jj_arguments_of(jj_run *r, const jj_node *kids);
jj_value jj_call(jj_run *r, jj_value f, const jj_arguments *a);
jj_value jj_call_builtin(jj_run *r, const jj_builtin *b, jj_value self, const jj_arguments *a);
jj_value jj_filter(jj_run *r, const jj_text *name, jj_value v, const jj_arguments *a);
bool jj_test(jj_run *r, const jj_text *name, jj_value v, const jj_arguments *a);
/* Fails unless it is one; MISSING gives `otherwise`. */
int64_t jj_want_int(jj_run *r, jj_value v, int64_t otherwise);
jj_text *jj_want_text(jj_run *r, jj_value v);

/* arithmetic.c */
jj_value jj_arithmetic(jj_heap *h, uint32_t op, jj_value a, jj_value b);
jj_value jj_sign(jj_heap *h, uint32_t op, jj_value v);

/* execute.c */
typedef enum { JJ_GO_ON, JJ_LEAVE_LOOP, JJ_NEXT_ROUND } jj_flow;
jj_flow jj_execute(jj_run *r, const jj_node *list);
/* What the statements write, as a string, in a scope of their own. */
jj_value jj_captured(jj_run *r, const jj_node *body, jj_scope *scope);
QL_NORETURN void jj_fail_undefined(jj_heap *h, jj_value v);
