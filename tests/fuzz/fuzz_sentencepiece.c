/* sentencepiece models, damaged: refused in one line that names the file, or opened; then texts are encoded, the same ids
 * come out twice, and what they came from lies in the text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/fuzz/common.h"
#include "worker/data/tokenizer/tokenizer.h"

static const char *const texts[] = {"", " the  dog's ab <s>abc\n", "e\xCC\x81 \xEF\xAC\x81\xE2\x91\xA0 AB \xF0\x9F\x98\x80\xE2\x96\x81x \xC2\xA0"};

static void insist(bool fact, const char *what) {
    if (fact) return;
    fprintf(stderr, "fuzz_sentencepiece: %s: %s\n", what, ql_err_text());
    abort();
}

static void use(const ql_tokenizer *t, const char *text) {
    ql_ids ids = {0}, again = {0};
    ql_ranges ranges = {0};
    ql_str back = {0};
    size_t n = strlen(text);
    ql_encoder *e = ql_encoder_open(t);
    insist(!ql_bad(ql_encode(e, text, n, true, &ids)), "a text that is refused");
    insist(!ql_bad(ql_encode_ranges(e, text, n, true, &again, &ranges)), "a text that is refused the second time");
    insist(ids.count == again.count && ranges.n == ids.count, "more or fewer tokens the second time");
    for (size_t i = 0; i < ids.count; i++) {
        insist(ids.id[i] == again.id[i], "other ids the second time");
        insist(ql_tokenizer_piece(t, ids.id[i], NULL), "an id without text");
        insist(ranges.at[i].from <= ranges.at[i].to && ranges.at[i].to <= n, "a range outside the text");
    }
    insist(!ql_bad(ql_decode(t, ids.id, ids.count, false, &back)), "ids that cannot be decoded");
    ql_encoder_close(e);
    free(ids.id);
    free(again.id);
    ql_ranges_free(&ranges);
    ql_str_free(&back);
}

static bool read_model(void *ctx, const uint8_t *bytes, size_t n) {
    (void)ctx;
    char *path = ql_path_join(ql_fuzz_folder(), "tokenizer.model");
    unlink(path); /* a new file, not a truncated one: ext4 writes the latter to the disk at once */
    ql_fuzz_file("tokenizer.model", bytes, n);
    free(path);
    ql_tokenizer *t;
    ql_err e = ql_tokenizer_open(ql_fuzz_folder(), &t);
    if (ql_bad(e)) {
        insist(e.code == QL_DATA, "a refusal that is not QL_DATA");
        insist(strstr(ql_err_text(), ql_fuzz_folder()) == ql_err_text(), "a refusal that names no file");
        insist(!strchr(ql_err_text(), '\n'), "a refusal of more than one line");
        return false;
    }
    for (size_t i = 0; i < QL_LEN(texts); i++) use(t, texts[i]);
    ql_tokenizer_close(t);
    return true;
}

int main(int argc, char **argv) {
    static const char *const models[] = {"plain", "rules", "user", "crossing"};
    ql_str seeds[QL_LEN(models)] = {0};
    for (size_t i = 0; i < QL_LEN(models); i++) {
        char *path = ql_format("%s/sentencepiece/%s/tokenizer.model", QL_TEST_DATA, models[i]);
        if (ql_bad(ql_file_read(path, SIZE_MAX, &seeds[i]))) abort();
        free(path);
    }
    int status = ql_fuzz_main(argc, argv, seeds, QL_LEN(seeds), read_model, NULL);
    for (size_t i = 0; i < QL_LEN(seeds); i++) ql_str_free(&seeds[i]);
    return status;
}
