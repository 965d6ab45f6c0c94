/* What config.json says about a decoder, checked: sizes within reason, nothing guessed. */
#pragma once
#include "base/json.h"

typedef enum { QL_ROPE_DEFAULT, QL_ROPE_LINEAR, QL_ROPE_LLAMA3, QL_ROPE_YARN } ql_rope_kind;
typedef struct {
    ql_rope_kind kind;
    double       theta, factor;
    double       low_freq_factor, high_freq_factor; /* llama3                               */
    double       beta_fast, beta_slow;              /* yarn                                 */
    double       attention_factor;                  /* yarn; 0: from the factor             */
    bool         truncate;                          /* yarn                                 */
    int64_t      original_positions;                /* llama3, yarn                         */
} ql_rope_config;

typedef struct ql_arch ql_arch;
typedef struct {
    const ql_arch *arch;
    int64_t        vocab_size, hidden_size, intermediate_size, layers, heads, kv_heads, head_dim, max_positions;
    float          rms_norm_eps;
    bool           tie_word_embeddings;
    bool           qkv_bias, o_bias, mlp_bias, qk_norm;
    int64_t        sliding_window;       /* 0: none                                          */
    bool          *layer_is_windowed;    /* [layers]; owned                                  */
    ql_rope_config rope;
    int32_t        eos_token_id[8];      /* of generation_config.json or config.json         */
    int            eos_token_ids;
    char           dtype[12];            /* "bfloat16", ...: of the folder; may be empty      */
    bool           prequantised;         /* a quantization_config of bitsandbytes, 4 bits    */
} ql_model_config;

/* Reads FOLDER/config.json (and generation_config.json if there). QL_DATA: FILE: key: what. */
QL_RESULT ql_model_config_read(const char *folder, ql_model_config *out);
void      ql_model_config_free(ql_model_config *c);

/* For architecture files. Reads an integer within [low, high]; absent or null: `otherwise`
 * (pass a negative one to demand the key). The file's name is put before the message by the caller. */
QL_RESULT ql_config_int(const ql_json *config, const char *key, int64_t otherwise, int64_t low, int64_t high,
                        int64_t *out);
/* The same for true and false, and for texts (absent or null: NULL). Other types are refused. */
QL_RESULT ql_config_bool(const ql_json *config, const char *key, bool otherwise, bool *out);
QL_RESULT ql_config_text(const ql_json *config, const char *key, const char **out);
