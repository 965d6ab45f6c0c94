/* Python's arithmetic; integers have 64 bits, and what goes beyond them is refused. */
#include <math.h>
#include <string.h>

#include "worker/data/template/run.h"

QL_NORETURN static void refuse(jj_heap *h, uint32_t op, jj_value a, jj_value b) {
    char name[3] = {(char)op, (char)(op >> 8), 0};
    if (a.kind == JJ_UNDEFINED) jj_fail_undefined(h, a);
    if (b.kind == JJ_UNDEFINED) jj_fail_undefined(h, b);
    if (op == JJ_OP('%', 0) && a.kind == JJ_TEXT) jj_fail(h, "formatting with %% is not supported; join with ~");
    jj_fail(h, "%s is not possible between values of the types %s and %s", name, jj_kind_name(a), jj_kind_name(b));
}

static int64_t power(jj_heap *h, int64_t base, int64_t exponent) {
    int64_t result = 1;
    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1 && __builtin_mul_overflow(result, base, &result)) jj_fail(h, "a number is beyond 64 bits");
        if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) jj_fail(h, "a number is beyond 64 bits");
    }
    return result;
}

static double floor_mod(double a, double b, double *quotient) {
    double mod = fmod(a, b), div = (a - mod) / b;
    if (mod != 0) {
        if ((b < 0) != (mod < 0)) {
            mod += b;
            div -= 1;
        }
    } else {
        mod = copysign(0, b);
    }
    *quotient = div != 0 ? floor(div) : copysign(0, a / b);
    if (div != 0 && div - *quotient > 0.5) *quotient += 1;
    return mod;
}

static jj_value wholes(jj_heap *h, uint32_t op, int64_t a, int64_t b) {
    int64_t result = 0;
    bool over = false;
    switch (op) {
        case JJ_OP('+', 0): over = __builtin_add_overflow(a, b, &result); break;
        case JJ_OP('-', 0): over = __builtin_sub_overflow(a, b, &result); break;
        case JJ_OP('*', 0): over = __builtin_mul_overflow(a, b, &result); break;
        case JJ_OP('*', '*'):
            if (b < 0 && a == 0) jj_fail(h, "division by zero");
            if (b < 0) return jj_float(pow((double)a, (double)b));
            return jj_int(power(h, a, b));
        default:
            if (b == 0) jj_fail(h, "division by zero");
            if (op == JJ_OP('/', 0)) return jj_float((double)((long double)a / (long double)b));
            if (b == -1) {
                over = op == JJ_OP('/', '/') && __builtin_sub_overflow(0, a, &result);
                break;
            }
            result = op == JJ_OP('%', 0) ? a % b : a / b;
            if (a % b != 0 && (a < 0) != (b < 0)) result += op == JJ_OP('%', 0) ? b : -1;
    }
    if (over) jj_fail(h, "a number is beyond 64 bits");
    return jj_int(result);
}

static jj_value reals(jj_heap *h, uint32_t op, double a, double b) {
    double quotient, result;
    switch (op) {
        case JJ_OP('+', 0): return jj_float(a + b);
        case JJ_OP('-', 0): return jj_float(a - b);
        case JJ_OP('*', 0): return jj_float(a * b);
        case JJ_OP('*', '*'):
            result = pow(a, b);
            if (!isfinite(result) && isfinite(a) && isfinite(b)) jj_fail(h, "a power that is no number");
            return jj_float(result);
        default: break;
    }
    if (b == 0) jj_fail(h, "division by zero");
    if (op == JJ_OP('/', 0)) return jj_float(a / b);
    result = floor_mod(a, b, &quotient);
    return jj_float(op == JJ_OP('%', 0) ? result : quotient);
}

static jj_value joined_texts(jj_heap *h, jj_text *a, jj_text *b) {
    bool marked = a->marked || b->marked;
    if (marked) {
        a = jj_escaped(h, a);
        b = jj_escaped(h, b);
    }
    jj_buffer both = {0};
    jj_put_text(h, &both, a);
    jj_put_text(h, &both, b);
    jj_value v = jj_finish(h, &both);
    v.text->marked = marked;
    return v;
}

static void append(jj_heap *h, jj_list *to, const jj_list *from) {
    jj_spend(h, from->n / 4);
    for (size_t i = 0; i < from->n; i++) jj_push(h, to, from->at[i]);
}

static jj_value joined_lists(jj_heap *h, const jj_list *a, const jj_list *b) {
    jj_list *l = jj_list_new(h, a->form);
    append(h, l, a);
    append(h, l, b);
    return jj_of_list(l);
}

static jj_value repeated_text(jj_heap *h, const jj_text *t, int64_t times) {
    size_t n = times > 0 ? (size_t)times : 0;
    if (t->size && n > QL_TEMPLATE_OUTPUT / t->size) jj_fail(h, "a string of more than %d MiB", QL_TEMPLATE_OUTPUT >> 20);
    jj_spend(h, n * t->size / 16);
    char *all = jj_alloc(h, n * t->size);
    for (size_t i = 0; t->size && i < n; i++) memcpy(all + i * t->size, t->data, t->size);
    jj_text *made = jj_text_at(h, all, n * t->size);
    made->marked = t->marked;
    return jj_of_text(made);
}

static jj_value repeated(jj_heap *h, jj_value v, int64_t times) {
    if (v.kind == JJ_TEXT) return repeated_text(h, v.text, times);
    jj_list *l = jj_list_new(h, v.list->form);
    for (int64_t i = 0; i < times && v.list->n; i++) {
        jj_spend(h, 1);
        append(h, l, v.list);
    }
    return jj_of_list(l);
}

static bool is_repeatable(jj_value v) { return v.kind == JJ_TEXT || (v.kind == JJ_LIST && v.list->form <= JJ_TUPLE); }

jj_value jj_arithmetic(jj_heap *h, uint32_t op, jj_value a, jj_value b) {
    if (op == JJ_OP('~', 0)) {
        jj_buffer both = {0};
        jj_put_string(h, &both, a);
        jj_put_string(h, &both, b);
        return jj_finish(h, &both);
    }
    if (jj_is_whole(a) && jj_is_whole(b)) return wholes(h, op, jj_whole(a), jj_whole(b));
    if (jj_is_number(a) && jj_is_number(b)) return reals(h, op, jj_real(a), jj_real(b));
    if (op == JJ_OP('+', 0) && a.kind == JJ_TEXT && b.kind == JJ_TEXT) return joined_texts(h, a.text, b.text);
    if (op == JJ_OP('+', 0) && a.kind == JJ_LIST && b.kind == JJ_LIST && is_repeatable(a) && a.list->form == b.list->form)
        return joined_lists(h, a.list, b.list);
    if (op == JJ_OP('*', 0) && is_repeatable(a) && jj_is_whole(b)) return repeated(h, a, jj_whole(b));
    if (op == JJ_OP('*', 0) && is_repeatable(b) && jj_is_whole(a)) return repeated(h, b, jj_whole(a));
    refuse(h, op, a, b);
}

jj_value jj_sign(jj_heap *h, uint32_t op, jj_value v) {
    bool minus = op == JJ_OP('-', 0);
    if (jj_is_whole(v)) return minus ? wholes(h, op, 0, jj_whole(v)) : jj_int(jj_whole(v));
    if (v.kind == JJ_FLOAT) return jj_float(minus ? -v.real : v.real);
    if (v.kind == JJ_UNDEFINED) jj_fail_undefined(h, v);
    jj_fail(h, "a value of type %s has no sign", jj_kind_name(v));
}
