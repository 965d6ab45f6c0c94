/* What is known of workers that ended: their last words, and where each rank stood (the rings in output_dir/run). For people. */
#pragma once
#include "launcher/run/relay.h"

void ql_diagnosis_print(const char *output_dir, const ql_relay *said);
/* "killed by signal 9 (Killed)", "exit status 75 (temporary fault)"; caller frees. */
char *ql_status_text(int status);
