/* Writes a model folder with random weights, for benchmarks: random_model 135m|1.1b|7b|8b FOLDER */
#include <omp.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/support/random_model.h"

int main(int argc, char **argv) {
    const random_model *shape = argc == 3 ? random_model_named(argv[1]) : NULL;
    if (!shape) {
        fprintf(stderr, "usage: random_model 135m|1.1b|7b|8b FOLDER\n");
        return QL_USAGE;
    }
    mkdir(argv[2], 0777);
    random_model_write(shape, argv[2], omp_get_max_threads());
    return 0;
}
