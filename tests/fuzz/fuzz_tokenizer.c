/* Tokenizer folders, damaged: refused in one line that names a file, or opened; then texts are
 * encoded and decoded, and the same text gives the same ids twice.
 *
 * A seed is a tokenizer.json and, behind lines "---", the files beside it that have a say: tokenizer_config.json,
 * special_tokens_map.json, generation_config.json. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/fuzz/common.h"
#include "worker/data/tokenizer/tokenizer.h"

#define CUT "\n---\n"

static const char *const seed_texts[] = {
    /* byte-level, Llama-3's regex, ignore_merges, nested post-processors */
    "{\"version\":\"1.0\",\"truncation\":null,\"added_tokens\":[{\"id\":7,\"content\":\"<s>\",\"single_word\":false,"
    "\"lstrip\":false,"
    "\"rstrip\":true,\"normalized\":false,\"special\":true},{\"id\":8,\"content\":\"  "
    "\",\"normalized\":true}],\"normalizer\":{\"type\":\"NFC\"},"
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?i:'s|'"
    "t|'re)|[^\\\\r\\\\n"
    "\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Isolated\","
    "\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":false}]},"
    "\"post_processor\":{"
    "\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\",\"trim_offsets\":false},{\"type\":"
    "\"TemplateProcessing\",\"single\":[{"
    "\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],"
    "\"special_tokens\":{\"<s>\":{"
    "\"id\":\"<s>\",\"ids\":[7],\"tokens\":[\"<s>\"]}}}]},\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":"
    "\"BPE\",\"dropout\":null,"
    "\"unk_token\":null,\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":true,\"vocab\":{\"a\":0,\"b\":1,"
    "\"\\u0120\":2,\"ab\":3,"
    "\"\\u0120a\":4,\"\\u0120ab\":5,\"1\":6},\"merges\":[[\"a\",\"b\"],[\"\\u0120\",\"a\"],[\"\\u0120a\",\"b\"],["
    "\"\\u0120\",\"ab\"]]}}" CUT "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"<e>\",\"lstrip\":true},\"add_eos_"
                                 "token\":true,\"added_tokens_decoder\":{\"7\":{"
    "\"content\":\"<s>\",\"special\":true},\"9\":{\"content\":\"<e>\",\"lstrip\":true,\"special\":true}}}",
    /* sentencepiece-style, as 2023's files have it */
    "{\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true,\"single_word\":true}],\"normalizer\":{"
    "\"type\":\"Sequence\","
    "\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\\u2581\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" "
    "\"},\"content\":\"\\u2581\"},"
    "{\"type\":\"Strip\",\"strip_left\":false,\"strip_right\":true}]},\"pre_tokenizer\":null,\"decoder\":{\"type\":"
    "\"Sequence\",\"decoders\":[{"
    "\"type\":\"Replace\",\"pattern\":{\"String\":\"\\u2581\"},\"content\":\" "
    "\"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":"
    "\"Strip\",\"content\":\" "
    "\",\"start\":1,\"stop\":0}]},\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"fuse_unk\":true,"
    "\"byte_fallback\":true,\"vocab\":{\"<unk>\":0,\"<0x61>\":1,\"<0xC3>\":2,\"\\u2581\":3,\"b\":4,\"\\u2581b\":5,"
    "\"bb\":6,\"bbb\":7},"
    "\"merges\":[\"\\u2581 b\",\"b b\",\"bb b\",\"b bb\"]}}" CUT
    "{\"unk_token\":\"<unk>\",\"pad_token\":\"<p>\",\"extra_special_tokens\":[\"<x>\"]}" CUT
    "{\"eos_token\":{\"content\":\"</s>\",\"rstrip\":true},\"additional_special_tokens\":[\"<y>\",\"b\"]}" CUT
    "{\"bos_token_id\":4,\"eos_token_id\":[3,7]}",
    /* one of each remaining part */
    "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKC\"},{\"type\":\"Lowercase\"},{\"type\":"
    "\"StripAccents\"},{\"type\":"
    "\"Replace\",\"pattern\":{\"Regex\":\"[[:space:]&&[^\\\\n]]{2,}+|\\\\bx(?i)y\"},\"content\":\" "
    "\"}]},\"pre_tokenizer\":{\"type\":\"Sequence\","
    "\"pretokenizers\":[{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"first\",\"split\":"
    "true},{\"type\":\"Digits\","
    "\"individual_digits\":true},{\"type\":\"Punctuation\",\"behavior\":\"MergedWithNext\"},{\"type\":\"FixedLength\","
    "\"length\":7},{\"type\":"
    "\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}]},\"post_processor\":{\"type\":\"BertProcessing\","
    "\"sep\":[\"b\",1],\"cls\":[\"a\",0]},"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"BPEDecoder\",\"suffix\":\"</"
    "w>\"},{\"type\":\"Metaspace\",\"replacement\":"
    "\"\\u2581\",\"add_prefix_space\":true}]},\"model\":{\"continuing_subword_prefix\":\"##\",\"end_of_word_suffix\":"
    "\"</w>\",\"vocab\":{\"a\":0,"
    "\"b\":1,\"##b\":2,\"##b</w>\":3,\"ab</w>\":40},\"merges\":[[\"a\",\"##b</w>\"]],\"unk_token\":\"a\"}}",
};

static const char *const texts[] = {"", "ab b  abab <s> 'S 123 bbbb",
                                    "a\xC3\xA9\xE2\x96\x81 \xF0\x9F\x98\x80"
                                    "a\xCC\x81 <unk> x",
                                    "\n\n \t<e>  <p>\xEF\xAC\x81 xY"};

static void insist(bool fact, const char *what) {
    if (fact) return;
    fprintf(stderr, "fuzz_tokenizer: %s: %s\n", what, ql_err_text());
    abort();
}

static void check_refusal(ql_err e) {
    insist(e.code == QL_DATA, "a refusal that is not QL_DATA");
    insist(*ql_err_text() != 0, "a refusal without a word");
    insist(!strchr(ql_err_text(), '\n'), "a refusal of more than one line");
}

/* Ranges lie in the text, on the edges of its characters. */
static void check_ranges(ql_encoder *e, const char *text, bool special, const ql_ids *ids) {
    ql_ids same = {0};
    ql_ranges ranges = {0};
    insist(!ql_bad(ql_encode_ranges(e, text, strlen(text), special, &same, &ranges)), "refused where ranges are wanted");
    insist(same.count == ids->count && ranges.n == ids->count, "more or fewer tokens where ranges are wanted");
    for (size_t i = 0; i < ranges.n; i++) {
        insist(same.id[i] == ids->id[i], "other ids where ranges are wanted");
        insist(ranges.at[i].from <= ranges.at[i].to && ranges.at[i].to <= strlen(text), "a range outside the text");
        insist((text[ranges.at[i].from] & 0xC0) != 0x80 && (text[ranges.at[i].to] & 0xC0) != 0x80, "a range that cuts a character");
    }
    free(same.id);
    ql_ranges_free(&ranges);
}

static void use(const ql_tokenizer *t, ql_encoder *e, const char *text, bool special) {
    ql_ids ids = {0}, again = {0};
    ql_str back = {0};
    ql_err verdict = ql_encode(e, text, strlen(text), special, &ids);
    if (ql_bad(verdict)) {
        check_refusal(verdict);
        insist(ids.count == 0, "ids of a text that was refused");
    } else {
        insist(!ql_bad(ql_encode(e, text, strlen(text), special, &again)), "a text is refused the second time");
        bool same = ids.count == again.count && (!ids.count || !memcmp(ids.id, again.id, ids.count * sizeof *ids.id));
        insist(same, "other ids the second time");
        check_ranges(e, text, special, &ids);
        for (size_t i = 0; i < ids.count; i++) insist(ql_tokenizer_piece(t, ids.id[i], NULL), "an id without text");
        insist(!ql_bad(ql_decode(t, ids.id, ids.count, special, &back)) || *ql_err_text(), "no word about a text");
    }
    free(ids.id);
    free(again.id);
    ql_str_free(&back);
}

/* A new file, not a truncated one: ext4 writes the latter to the disk at once. */
static void put_file(const char *name, const void *bytes, size_t n) {
    char *path = ql_path_join(ql_fuzz_folder(), name);
    unlink(path);
    ql_fuzz_file(name, bytes, n);
    free(path);
}

static bool read_tokenizer(void *ctx, const uint8_t *bytes, size_t n) {
    (void)ctx;
    static const char *const files[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"};
    const char *part = (const char *)bytes, *end = part + n;
    for (size_t i = 0; i < QL_LEN(files); i++) {
        const char *cut = part ? memmem(part, (size_t)(end - part), CUT, strlen(CUT)) : NULL;
        put_file(files[i], part ? part : "{}", part ? (size_t)((cut ? cut : end) - part) : 2);
        part = cut ? cut + strlen(CUT) : NULL;
    }
    ql_tokenizer *t;
    ql_err e = ql_tokenizer_open(ql_fuzz_folder(), &t);
    if (ql_bad(e)) {
        check_refusal(e);
        insist(strstr(ql_err_text(), ql_fuzz_folder()) == ql_err_text(), "a refusal that names no file");
        return false;
    }
    ql_encoder *encoder = ql_encoder_open(t);
    for (size_t i = 0; i < QL_LEN(texts); i++) use(t, encoder, texts[i], i % 2 == 1);
    ql_encoder_close(encoder);
    ql_tokenizer_close(t);
    return true;
}

int main(int argc, char **argv) {
    ql_str seeds[QL_LEN(seed_texts)] = {0};
    for (size_t i = 0; i < QL_LEN(seed_texts); i++) ql_str_puts(&seeds[i], seed_texts[i]);
    int rc = ql_fuzz_main(argc, argv, seeds, QL_LEN(seeds), read_tokenizer, NULL);
    for (size_t i = 0; i < QL_LEN(seeds); i++) ql_str_free(&seeds[i]);
    return rc;
}
