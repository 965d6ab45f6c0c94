/* Writes a model folder with a hole for its weights, for plans: model_outline SHAPE FOLDER */
#include <stdio.h>
#include <sys/stat.h>

#include "tests/support/random_model.h"

int main(int argc, char **argv) {
    const random_model *shape = argc == 3 ? random_model_named(argv[1]) : NULL;
    if (!shape) {
        fprintf(stderr, "usage: model_outline 135m|1.1b|7b|8b|70b|256k FOLDER\n");
        return QL_USAGE;
    }
    mkdir(argv[2], 0777);
    random_model_outline(shape, argv[2]);
    return 0;
}
