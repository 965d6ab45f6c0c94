/* Numbers and strings as they stand in a template. */
#pragma once
#include "worker/data/template/text.h"

/* Reads what begins at byte `at`, a digit or a quote; `used` is its size. After a dot only digits are a number ("x.0.1"). */
jj_value jj_read_literal(jj_heap *h, const jj_text *source, size_t at, bool after_dot, size_t *used);
/* Digits of a base with single underscores between them. False: not a number, or beyond 64 bits (`too_large`). */
bool jj_read_digits(const char *digits, size_t n, int base, int64_t *out, bool *too_large);
