#include "worker/data/read/cure.h"

#include <string.h>

/* By what the parser found; the first row that fits counts. */
static const struct {
    const char *said, *cure;
} row[] = {
    {"duplicate object key", "keep one of them"},
    {"invalid Unicode", "half of a surrogate pair is no character: write the other half, too, or U+FFFD"},
    {"maximum parsing depth", "leave out the field, or make it flatter"},
    {"control character", "write it as \\t, \\n or \\u00.."},
    {"invalid escape", "double the backslash; a JSON library does that"},
    {"real number overflow", "write the number as a string, or leave out the field"},
    {"near '''", "JSON has double quotes; a JSON library writes them"},
    {"near 'NaN'", "JSON has no NaN and no Infinity: write null"},
    {"near 'Infinity'", "JSON has no NaN and no Infinity: write null"},
    {"invalid token near '-'", "JSON has no NaN and no Infinity: write null"},
    {"near 'None'", "JSON writes null, true and false"},
    {"near 'True'", "JSON writes null, true and false"},
    {"near 'False'", "JSON writes null, true and false"},
    {"near '/'", "JSON has no comments: remove it"},
    {"near '#'", "JSON has no comments: remove it"},
    {"string or '}' expected near '}'", "remove the spare comma"},
    {"end of file expected near '{'", "write one record a line (lines end in LF or CRLF), or commas between the records of an array"},
    {"end of file expected near ','", "lines of JSON have no commas between them; an array stands in [ ]"},
    {"end of file expected", "remove what follows the record"},
    {"near end of file", "a record of JSON Lines stands on one line, and an array in [ ]; or is the file cut off?"},
    {"premature end", "a record of JSON Lines stands on one line, and an array in [ ]; or is the file cut off?"},
};

const char *ql_json_cure(const char *text, size_t n, const char *said) {
    bool is_object = n > 0 && text[0] == '{', is_list_of_yaml = n > 0 && text[0] == '-';
    for (size_t i = 0; i < QL_LEN(row) && !is_list_of_yaml; i++)
        if (strstr(said, row[i].said)) return row[i].cure;
    return is_object ? "correct the record, or remove it"
                     : "expected an object, {\"field\": \"text\", ...}; does the name end as it should (.csv, .tsv, .txt; .jsonl)?";
}
