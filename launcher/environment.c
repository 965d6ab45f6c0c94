#include "launcher/environment.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

extern char **environ;

/* A name that ends in * stands for all that begin so. */
typedef struct {
    const char *name, *does;
} rule;

static const char LOADS[] = "loads code into the workers", REDIRECTS[] = "redirects files of the workers";
static const rule dangerous[] = {
    {"LD_PRELOAD", LOADS},
    {"LD_LIBRARY_PATH", LOADS},
    {"LD_AUDIT", LOADS},
    {"GCONV_PATH", LOADS},
    {"OMP_TOOL_LIBRARIES", LOADS},
    {"OPENSSL_CONF", LOADS},
    {"OPENSSL_ENGINES", LOADS},
    {"OPENSSL_MODULES", LOADS},
    {"HDF5_PLUGIN_PATH", LOADS},
    {"HDF5_PLUGIN_PRELOAD", LOADS},
    {"HDF5_VOL_CONNECTOR", LOADS},
    {"HDF5_DRIVER", REDIRECTS},
    {"OPAL_PREFIX", LOADS},
    {"OMPI_MCA_mca_base_component_path", LOADS},
    {"OMPI_MCA_mca_component_path", LOADS},
    {"OMPI_MCA_mca_base_param_files", REDIRECTS},
    {"OMPI_MCA_mca_base_param_file_path", REDIRECTS},
    {"OMPI_MCA_plm_rsh_agent", LOADS},
    {"OMPI_MCA_orte_launch_agent", LOADS},
    {"PMIX_MCA_*", LOADS},
    {"NCCL_NET_PLUGIN", LOADS},
    {"NCCL_TUNER_PLUGIN", LOADS},
    {"NCCL_PROFILER_PLUGIN", LOADS},
    {"NCCL_ENV_PLUGIN", LOADS},
    {"NCCL_CONF_FILE", REDIRECTS},
    {"NCCL_DEBUG_FILE", REDIRECTS},
    {"NCCL_TOPO_DUMP_FILE", REDIRECTS},
    {"CUDA_INJECTION64_PATH", LOADS},
    {"CUDA_MODULE_*", LOADS},
};

static bool matches(const char *pattern, const char *name) {
    size_t n = strlen(pattern);
    return pattern[n - 1] == '*' ? !strncmp(name, pattern, n - 1) : !strcmp(name, pattern);
}

static bool is_secret(const char *name) {
    static const char *const signs[] = {"TOKEN", "KEY", "SECRET", "PASSWORD"};
    for (size_t i = 0; i < QL_LEN(signs); i++)
        if (strcasestr(name, signs[i])) return true;
    return false;
}

/* "NAME" of "NAME=value"; the caller frees it. */
static char *name_of(const char *word) {
    return ql_strndup(word, strcspn(word, "="));
}

/* As it may be shown: one line, of bounded length, without what a terminal would obey. */
static void put_value(ql_str *line, const char *name, const char *value) {
    enum { LONGEST = 200 };
    size_t n = strnlen(value, LONGEST);
    if (is_secret(name)) {
        ql_str_puts(line, "(not shown)");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        char c = isprint((unsigned char)value[i]) ? value[i] : '?';
        ql_str_put(line, &c, 1);
    }
    if (value[n]) ql_str_puts(line, "...");
}

static void say(const char *name, const char *does, bool drop) {
    ql_str      line = {0};
    const char *value = getenv(name);
    put_value(&line, name, value ? value : "");
    if (drop) ql_warn("environment: %s=%s %s; dropped, since this is root", name, line.data ? line.data : "", does);
    else ql_warn("environment: %s=%s %s", name, line.data ? line.data : "", does);
    ql_str_free(&line);
}

/* A folder for temporary files that belongs to neither us nor the system: its owner can change what we put there. */
static bool is_foreign_folder(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) return false;
    bool shared = st.st_uid == 0 && (st.st_mode & S_ISVTX || !(st.st_mode & S_IWOTH));
    return st.st_uid != geteuid() && !shared;
}

const char *ql_environment_danger(const char *name) {
    for (size_t i = 0; i < QL_LEN(dangerous); i++)
        if (matches(dangerous[i].name, name)) return dangerous[i].does;
    if (!strcmp(name, "TMPDIR") && is_foreign_folder(getenv("TMPDIR"))) return "is a folder of somebody else";
    return NULL;
}

/* Names are collected first: taking one away moves the others. */
static char **all_names(size_t *n) {
    char **names = NULL;
    size_t capacity = 0;
    *n = 0;
    for (char **word = environ; *word; word++) QL_PUSH(names, *n, capacity, name_of(*word));
    return names;
}

void ql_environment_check(bool drop) {
    size_t n;
    char **names = all_names(&n);
    for (size_t i = 0; i < n; i++) {
        const char *does = ql_environment_danger(names[i]);
        if (does) say(names[i], does, drop);
        if (does && drop) unsetenv(names[i]);
        free(names[i]);
    }
    free(names);
}

void ql_environment_print(void) {
    static const char *const heard[] = {"OMPI_MCA_*", "PRTE_MCA_*", "NCCL_*", "HDF5_*", "QLORA_*", "OMP_*", "GOMP_*", "CUDA_VISIBLE_DEVICES"};
    ql_str                   line = {0};
    for (char **word = environ; *word; word++) {
        char *name = name_of(*word);
        bool  is_heard = false;
        for (size_t i = 0; i < QL_LEN(heard); i++) is_heard |= matches(heard[i], name);
        if (is_heard) {
            ql_str_printf(&line, " %s=", name);
            put_value(&line, name, (*word)[strlen(name)] ? *word + strlen(name) + 1 : "");
        }
        free(name);
    }
    if (line.size > 0) ql_info("environment%s", line.data);
    ql_str_free(&line);
}
