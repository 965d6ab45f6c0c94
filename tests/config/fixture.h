/* Reads texts as if they were the file c.yaml. */
#pragma once
#include "base/config/config.h"

/* Works in a scratch folder from here on. */
int fixture_start(void **state);
int fixture_end(void **state);

/* The three required keys, before `text`. Verdict of reading c.yaml; overrides end with NULL. */
ql_err read_with(const char *text, char **overrides, ql_config *out, ql_str *notes);
ql_err read_text(const char *text, ql_config *out);
/* Reads exactly these bytes. */
ql_err read_bytes(const void *bytes, size_t n, ql_config *out);
/* Required keys and `text` must be accepted. */
ql_config accepted(const char *text);

#define REQUIRED "model_name_or_path: m\ndataset: d.jsonl\noutput_dir: o\n" /* three lines */
