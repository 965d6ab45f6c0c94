#include "launcher/run/record.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "launcher/child.h"

/* ---- run/ ---- */

/* The sum over files, in whatever order the folder lists them: a name, and which file bears it. */
static uint64_t done_marks(const char *run) {
    DIR     *dir = opendir(run);
    uint64_t sum = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (strncmp(entry->d_name, "DONE-", strlen("DONE-")) || strstr(entry->d_name, ".tmp-")) continue;
        char        *path = ql_path_join(run, entry->d_name);
        ql_file_mark mark;
        if (ql_file_mark_read(path, &mark)) sum += ql_hash64(&mark, sizeof mark, ql_hash64(entry->d_name, strlen(entry->d_name), 0));
        free(path);
    }
    if (dir) closedir(dir);
    return sum;
}

/* run/generation begins with the number. */
static int64_t generation_in(const char *run) {
    enum { LIMIT = 4096 };
    char   *path = ql_path_join(run, "generation");
    ql_str  text = {0};
    int64_t number = 0;
    if (ql_file_exists(path) && !ql_bad(ql_file_read(path, LIMIT, &text)) && text.data) number = strtoll(text.data, NULL, 10);
    ql_str_free(&text);
    free(path);
    return number > 0 ? number : 0;
}

/* ---- metrics.jsonl ---- */

/* The end of the file: lines are short. */
static ql_str tail_of(const char *path) {
    enum { TAIL = 1 << 16 };
    ql_str      text = {0};
    struct stat st;
    int         fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        off_t from = st.st_size > TAIL ? st.st_size - TAIL : 0;
        ql_str_reserve(&text, TAIL + 1);
        ssize_t n = pread(fd, text.data, TAIL, from);
        text.size = n > 0 ? (size_t)n : 0;
        text.data[text.size] = 0;
    }
    if (fd >= 0) close(fd);
    return text;
}

/* The step that a line is about, or QL_NO_STEP when it is none, or not whole. */
static int64_t step_of(const char *line, size_t n) {
    ql_json *v;
    if (n == 0 || ql_bad(ql_json_parse(line, n, "metrics.jsonl", 1, &v))) return QL_NO_STEP;
    int64_t step = ql_json_int(ql_json_get(v, "step"), QL_NO_STEP);
    ql_json_free(v);
    return step;
}

static int64_t last_step(const char *output_dir) {
    char   *path = ql_path_join(output_dir, "metrics.jsonl");
    ql_str  text = tail_of(path);
    int64_t step = QL_NO_STEP;
    for (const char *p = text.data, *end = p + text.size; p < end;) {
        const char *feed = memchr(p, '\n', (size_t)(end - p));
        size_t      n = (size_t)((feed ? feed : end) - p);
        int64_t     here = step_of(p, n);
        if (here != QL_NO_STEP) step = here;
        p += n + 1;
    }
    ql_str_free(&text);
    free(path);
    return step;
}

/* ---- checkpoints ---- */

/* The last line that it prints is about the first good one, if there is any. */
static int64_t good_step_in(const ql_str *answer) {
    int64_t step = QL_NO_STEP;
    for (const char *p = answer->data; *p; p += *p == '\n') {
        size_t   n = strcspn(p, "\n");
        ql_json *v;
        if (n > 0 && !ql_bad(ql_json_parse(p, n, "qlora-worker", 1, &v))) {
            if (ql_json_bool(ql_json_get(v, "good"), false)) step = ql_json_int(ql_json_get(v, "step"), QL_NO_STEP);
            ql_json_free(v);
        }
        p += n;
    }
    return step;
}

static ql_err read_answer(const char *output_dir, const ql_answer *a, int64_t *step) {
    QL_CHECK(!a->is_late, QL_IO, "%s: checkpoints cannot be examined: the disk stands still", output_dir);
    QL_CHECK(a->status == 0, QL_IO, "%s: checkpoints cannot be examined: qlora-worker ended with status %d: %s", output_dir, a->status, a->errors.data);
    *step = good_step_in(&a->text);
    return ql_ok();
}

ql_err ql_record_newest(const char *output_dir, const char *worker, int64_t *step) {
    enum { SECONDS = 600 }; /* as long as a save may stand still */
    const char *argv[] = {worker, "--do", "checkpoints", "--newest", "--json", "--", output_dir, NULL};
    ql_answer   answer;
    *step = QL_NO_STEP;
    ql_err e = ql_child_ask(argv, SECONDS, &answer);
    if (!ql_bad(e)) e = read_answer(output_dir, &answer, step);
    ql_answer_free(&answer);
    return e;
}

void ql_record_read(const char *output_dir, ql_record *out) {
    char *run = ql_path_join(output_dir, "run");
    *out = (ql_record){done_marks(run), generation_in(run), last_step(output_dir)};
    free(run);
}
