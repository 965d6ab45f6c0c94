/* For tests of whole programs.   hostile_state list | hostile_state CHECKPOINT STEP WAY */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spoil.h"

int main(int argc, char **argv) {
    bool list = argc == 2 && !strcmp(argv[1], "list");
    for (size_t i = 0; list && i < spoil_ways(); i++) printf("%s\n", spoil_name(i));
    if (argc != 4) return list ? 0 : 64;
    for (size_t i = 0; i < spoil_ways(); i++)
        if (!strcmp(spoil_name(i), argv[3])) return spoil(argv[1], atoll(argv[2]), i) ? 0 : 77;
    return 64;
}
