/* How a check says what it found, and how that is gathered from the process it ran in: a line each, "SEVERITY CODE WHAT<tab>CURE". */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/child.h"
#include "launcher/doctor/doctor.h"

enum { ASKING = 9, LONGEST = 2000 };

/* ---- in the check's process ---- */

/* Bytes of one character of UTF-8; 0: it is none. */
static size_t character(const char *p) {
    unsigned char c = (unsigned char)p[0];
    size_t        n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)p[i] & 0xc0) != 0x80) return 0;
    return n;
}

/* One line of printable text: names of files may be anything, and JSON may not. */
static void put_part(ql_str *line, const char *text) {
    char *copy = ql_strndup(text, strnlen(text, LONGEST));
    ql_hide_controls(copy, true);
    for (char *p = copy; *p; p += character(p))
        if (!character(p)) *p = '?';
    ql_str_puts(line, copy);
    free(copy);
}

static void say(int severity, ql_code code, const char *cure, const char *fmt, va_list ap) {
    char   what[LONGEST];
    ql_str line = {0};
    vsnprintf(what, sizeof what, fmt, ap);
    ql_str_printf(&line, "%d %d ", severity, (int)code);
    put_part(&line, what);
    ql_str_puts(&line, "\t");
    put_part(&line, cure ? cure : "");
    ql_str_puts(&line, "\n");
    (void)!write(STDOUT_FILENO, line.data, line.size); /* to a pipe that is read to its end */
    ql_str_free(&line);
}

#define SAY(SEVERITY, CODE, CURE)                   \
    do {                                            \
        va_list ap;                                 \
        va_start(ap, fmt);                          \
        say((SEVERITY), (CODE), (CURE), fmt, ap);   \
        va_end(ap);                                 \
    } while (0)

void ql_fine(const char *fmt, ...) {
    SAY(QL_FINE, QL_OK, NULL);
}

void ql_remark(const char *cure, const char *fmt, ...) {
    SAY(QL_REMARK, QL_OK, cure);
}

void ql_warning(const char *cure, const char *fmt, ...) {
    SAY(QL_WARNING, QL_OK, cure);
}

void ql_mistake(ql_code code, const char *cure, const char *fmt, ...) {
    SAY(QL_ERROR, code, cure);
}

void ql_trouble(bool fails, const char *cure, const char *fmt, ...) {
    SAY(fails ? QL_ERROR : QL_WARNING, fails ? QL_TEMP : QL_OK, cure);
}

void ql_asking(const char *fmt, ...) {
    SAY(ASKING, QL_OK, NULL);
}

typedef struct {
    const ql_check   *check;
    const ql_patient *patient;
} visit;

static int look(void *with) {
    const visit *v = with;
    v->check->look(v->patient);
    return 0;
}

/* ---- in ours ---- */

static void add(ql_findings *f, const char *check, ql_severity severity, ql_code code, char *what, char *cure) {
    ql_finding one = {.check = check, .severity = severity, .code = code, .what = what, .cure = cure};
    QL_PUSH(f->item, f->count, f->capacity, one);
}

/* Takes one line; what was asked last stays in *asked. */
static void take(const char *line, size_t n, const char *check, ql_findings *f, char **asked) {
    int severity, code, from = 0;
    char *text = ql_strndup(line, n), *tab = strchr(text, '\t');
    if (tab && sscanf(text, "%d %d %n", &severity, &code, &from) == 2 && from > 0) {
        char *what = ql_strndup(text + from, (size_t)(tab - text - from));
        if (severity == ASKING) {
            free(*asked);
            *asked = what;
        } else {
            add(f, check, (ql_severity)severity, (ql_code)code, what, ql_strdup(tab + 1));
        }
    }
    free(text);
}

static char *take_all(const ql_str *text, const char *check, ql_findings *f) {
    char *asked = NULL;
    for (const char *p = text->data, *end; p && (end = strchr(p, '\n')); p = end + 1) take(p, (size_t)(end - p), check, f, &asked);
    return asked ? asked : ql_strdup("this machine");
}

static void add_fault(ql_findings *f, const char *check, const char *asked, const ql_answer *a) {
    char *said = ql_answer_first_line(&a->errors);
    ql_hide_controls(said, true);
    add(f, check, QL_ERROR, QL_BUG, ql_format("the check itself ended with status %d while it looked at %s%s%s", a->status, asked, *said ? ": " : "", said),
        ql_strdup("report this as a bug of qlora"));
    free(said);
}

void ql_check_run(const ql_check *check, const ql_patient *p, ql_findings *out) {
    ql_answer a;
    visit     v = {check, p};
    ql_err    e = ql_child_do(look, &v, check->seconds, &a);
    char     *asked = take_all(&a.text, check->name, out);
    if (ql_bad(e)) add(out, check->name, QL_ERROR, QL_TEMP, ql_strdup(ql_err_text()), ql_strdup("end other processes of yours, or raise ulimit -u"));
    else if (a.is_late)
        add(out, check->name, QL_ERROR, QL_TEMP, ql_format("%s: no answer within %.0f s", asked, check->seconds),
            ql_strdup("a file system or service behind it does not answer, or the machine is overloaded; ask who runs it"));
    else if (a.status != 0)
        add_fault(out, check->name, asked, &a);
    free(asked);
    ql_answer_free(&a);
}

void ql_findings_free(ql_findings *f) {
    for (size_t i = 0; i < f->count; i++) {
        free(f->item[i].what);
        free(f->item[i].cure);
    }
    free(f->item);
    *f = (ql_findings){0};
}

/* ---- what is printed ---- */

static const char *const severity_name[] = {[QL_FINE] = "ok", [QL_REMARK] = "note", [QL_WARNING] = "warning", [QL_ERROR] = "error"};

static size_t count(const ql_findings *f, ql_severity severity) {
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++) n += f->item[i].severity == severity;
    return n;
}

/* What would end a run first: its configuration, then its input, then what the machine lacks. */
static int status_of(const ql_findings *f) {
    static const ql_code order[] = {QL_USAGE, QL_DATA, QL_DENIED, QL_BUG};
    for (size_t k = 0; k < QL_LEN(order); k++)
        for (size_t i = 0; i < f->count; i++)
            if (f->item[i].severity == QL_ERROR && f->item[i].code == order[k]) return (int)order[k];
    return count(f, QL_ERROR) > 0 ? QL_TEMP : QL_OK;
}

static void print_text(const ql_findings *f) {
    for (int severity = QL_FINE; severity <= QL_ERROR; severity++)
        for (size_t i = 0; i < f->count; i++) {
            const ql_finding *one = &f->item[i];
            if (one->severity != (ql_severity)severity) continue;
            printf("%-8s %-12s %s\n", severity_name[severity], one->check, one->what);
            if (*one->cure) printf("%21s %s\n", "", one->cure);
        }
    size_t errors = count(f, QL_ERROR), warnings = count(f, QL_WARNING), notes = count(f, QL_REMARK);
    printf("%zu error%s, %zu warning%s, %zu note%s%s\n", errors, errors == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s", notes,
           notes == 1 ? "" : "s", errors + warnings == 0 ? ": nothing is wrong" : errors == 0 ? ": a run will start" : "");
}

static void put_field(ql_str *out, const char *name, const char *text) {
    ql_str_printf(out, "\"%s\": ", name);
    ql_json_put_string(out, text, strlen(text));
}

static void print_json(const ql_findings *f) {
    ql_str out = {0};
    ql_str_puts(&out, "{\"findings\": [");
    for (size_t i = 0; i < f->count; i++) {
        const ql_finding *one = &f->item[i];
        ql_str_puts(&out, i ? ", {" : "{");
        put_field(&out, "check", one->check);
        ql_str_puts(&out, ", ");
        put_field(&out, "severity", severity_name[one->severity]);
        ql_str_puts(&out, ", ");
        put_field(&out, "what", one->what);
        if (*one->cure) {
            ql_str_puts(&out, ", ");
            put_field(&out, "cure", one->cure);
        }
        ql_str_puts(&out, "}");
    }
    ql_str_printf(&out, "], \"errors\": %zu, \"warnings\": %zu}\n", count(f, QL_ERROR), count(f, QL_WARNING));
    fwrite(out.data, 1, out.size, stdout);
    ql_str_free(&out);
}

int ql_findings_print(const ql_findings *f, bool json) {
    if (json) print_json(f);
    else print_text(f);
    return status_of(f);
}
