#include "launcher/run/diagnosis.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/ring.h"

static void print_words(const ql_relay *said) {
    if (said->n_words == 0) return;
    ql_info("last words:");
    for (size_t i = 0; i < said->n_words; i++) ql_info("  %s", said->words[i]);
}

/* Of a ring, who it was and what it did; its 64 events are for `qlora-worker --do rings`. */
static void print_ring(const char *path) {
    enum { LINES = 2 };
    ql_ring ring;
    ql_str  text = {0};
    if (ql_bad(ql_ring_read(path, &ring))) {
        ql_info("  %s", ql_err_text());
        return;
    }
    ql_ring_print(&ring, &text);
    const char *line = text.data;
    for (int i = 0; i < LINES && line && *line; i++) {
        size_t n = strcspn(line, "\n");
        ql_info("  %.*s", (int)n, line);
        line += n + (line[n] == '\n');
    }
    ql_str_free(&text);
}

void ql_diagnosis_print(const char *output_dir, const ql_relay *said) {
    print_words(said);
    for (int rank = 0;; rank++) {
        char *path = ql_format("%s/run/rank-%d.ring", output_dir, rank);
        bool  exists = ql_file_exists(path);
        if (exists && rank == 0) ql_info("where each rank stood:");
        if (exists) print_ring(path);
        free(path);
        if (!exists) return;
    }
}

static const char *meaning_of(int status) {
    switch (status) {
        case QL_BUG: return "a mistake of this program";
        case QL_IO: return "the operating system refused something";
        case QL_TEMP: return "a fault that may pass";
        case 0: return "success, as it says";
        case 1: return "as mpirun has it when a worker ends badly";
        default: return NULL;
    }
}

char *ql_status_text(int status) {
    if (status > 128 && status < 128 + 65) return ql_format("killed by signal %d (%s)", status - 128, strsignal(status - 128));
    const char *meaning = meaning_of(status);
    return ql_format("exit status %d%s%s%s", status, meaning ? " (" : "", meaning ? meaning : "", meaning ? ")" : "");
}
