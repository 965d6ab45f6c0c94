/* loud_model FOLDER TOKEN VALUE: a tiny random Llama model for the example's tokenizer in which one token is loud. Hidden
 * dimension 0 carries nothing but a mark of that token from its embedding to the head, whose last row multiplies it by
 * VALUE. So records without the token are as in any model, and what follows the token has a loss of about 5.6 VALUE, as
 * long as no adapter writes to the residual stream (target_modules without o_proj and down_proj). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint/safetensors.h"
#include "kernels/quant/quant.h"
#include "tests/support/random_model.h"

static void put(int fd, const ql_stored *t, int64_t row, int64_t col, float value) {
    uint16_t bits = ql_f32_to_bf16(value);
    off_t    at = (off_t)(t->data - t->file->data) + (row * t->dim[1] + col) * (int64_t)sizeof bits;
    if (pwrite(fd, &bits, sizeof bits, at) != sizeof bits) must(ql_fail_errno("the model"));
}

static const ql_stored *find(const ql_tensor_set *s, const char *name) {
    const ql_stored *t = ql_tensor_set_find(s, name);
    if (!t) must(ql_fail(QL_BUG, "no tensor %s", name));
    return t;
}

static void clear_column(int fd, const ql_stored *t) {
    for (int64_t row = 0; row < t->dim[0]; row++) put(fd, t, row, 0, 0);
}

static void clear_row(int fd, const ql_stored *t) {
    for (int64_t col = 0; col < t->dim[1]; col++) put(fd, t, 0, col, 0);
}

int main(int argc, char **argv) {
    const random_model small = {"loud", 32, 2, 2, 1, 64, 2048, false, 2048};
    if (argc != 4) return 64;
    int64_t token = atoll(argv[2]);
    must(ql_dir_make(argv[1]));
    random_model_write(&small, argv[1], 1);
    char          *path = ql_path_join(argv[1], "model.safetensors");
    ql_tensor_set *s;
    must(ql_tensor_file_open(path, &s));
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || token < 0 || token >= small.vocab) must(ql_fail(QL_USAGE, "%s, token %s", path, argv[2]));
    clear_column(fd, find(s, "model.embed_tokens.weight"));
    put(fd, find(s, "model.embed_tokens.weight"), token, 0, 1);
    for (int i = 0; i < small.layers; i++) {
        char name[96];
        snprintf(name, sizeof name, "model.layers.%d.self_attn.o_proj.weight", i);
        clear_row(fd, find(s, name));
        snprintf(name, sizeof name, "model.layers.%d.mlp.down_proj.weight", i);
        clear_row(fd, find(s, name));
    }
    clear_column(fd, find(s, "lm_head.weight"));
    put(fd, find(s, "lm_head.weight"), small.vocab - 1, 0, strtof(argv[3], NULL));
    close(fd);
    ql_tensor_set_close(s);
    free(path);
    return 0;
}
