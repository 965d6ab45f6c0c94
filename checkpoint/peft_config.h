/* adapter_config.json, read and checked. Private to peft_read.c. */
#pragma once
#include "checkpoint/peft.h"

QL_RESULT ql_peft_config_read(const char *path, ql_peft_config *out);
