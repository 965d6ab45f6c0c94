/* The command line of qlora-worker. */
#pragma once
#include "worker/cards.h"

typedef enum { QL_MODE_TRAIN, QL_MODE_PLAN, QL_MODE_CHECK, QL_MODE_EVAL, QL_MODE_PROBE, QL_MODE_TOOL, QL_MODE_TEXT } ql_mode;
typedef struct {
    ql_mode     mode;
    bool        json, per_record;
    const char *adapter, *device, *config; /* borrowed from argv; NULL: not given */
    int         threads;                   /* 0: not given                        */
    int         ranks;                     /* to plan for; 0: those that there are */
    const ql_card *card;                   /* to plan for; NULL: the devices that there are */
    char       *max_memory;                /* the override that --max-memory stands for */
    char      **overrides;                 /* KEY=VALUE; borrowed                 */
    size_t      n_overrides;
    const char *text;                      /* the option that asks for one: --help, ... */
    const char *tool;                      /* --do NAME: what follows is its own   */
    int         tool_argc;
    char      **tool_argv;
} ql_options;

/* QL_USAGE with a line that names the option. */
QL_RESULT ql_options_read(int argc, char **argv, ql_options *out);
/* What QL_MODE_TEXT is about, to standard output. */
QL_RESULT ql_options_print(const ql_options *o);
void      ql_options_free(ql_options *o);
