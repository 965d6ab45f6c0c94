#include "worker/data/template/builtin.h"

#include <string.h>

/* The special tokens of each family stand in the text; bos_token and eos_token are the tokenizer's. What the assistant says,
 * with the token that ends it, stands in a generation block. */

static const char chatml[] =
    "{%- for message in messages %}\n"
    "{{- '<|im_start|>' + message.role + '\\n' }}\n"
    "{%- if message.role == 'assistant' %}\n"
    "{%- generation %}{{- message.content + '<|im_end|>' }}{%- endgeneration %}\n"
    "{%- else %}\n"
    "{{- message.content + '<|im_end|>' }}\n"
    "{%- endif %}\n"
    "{{- '\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}\n";

/* A system text goes into the first message of the user. */
#define TAKE_SYSTEM                                                                              \
    "{%- set ns = namespace(system='') %}\n"                                                     \
    "{%- if messages and messages[0].role == 'system' %}{%- set ns.system = messages[0].content %}{%- endif %}\n" \
    "{%- for message in messages %}\n"

static const char llama_2[] =
    TAKE_SYSTEM
    "{%- if message.role == 'user' %}\n"
    "{%- set system = '<<SYS>>\\n' + ns.system + '\\n<</SYS>>\\n\\n' if ns.system else '' %}\n"
    "{{- bos_token + '[INST] ' + (system + message.content).strip() + ' [/INST]' }}\n"
    "{%- set ns.system = '' %}\n"
    "{%- elif message.role == 'assistant' %}\n"
    "{%- generation %}{{- ' ' + message.content.strip() + ' ' + eos_token }}{%- endgeneration %}\n"
    "{%- elif message.role != 'system' %}\n"
    "{{- raise_exception('llama-2 knows messages of system, user and assistant, not of ' + message.role) }}\n"
    "{%- endif %}\n"
    "{%- endfor %}\n";

static const char llama_3[] =
    "{{- bos_token }}\n"
    "{%- for message in messages %}\n"
    "{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}\n"
    "{%- if message.role == 'assistant' %}\n"
    "{%- generation %}{{- message.content | trim + '<|eot_id|>' }}{%- endgeneration %}\n"
    "{%- else %}\n"
    "{{- message.content | trim + '<|eot_id|>' }}\n"
    "{%- endif %}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}\n";

static const char mistral[] =
    "{{- bos_token }}\n"
    TAKE_SYSTEM
    "{%- if message.role == 'user' %}\n"
    "{{- '[INST] ' }}\n"
    "{%- if ns.system %}{{- ns.system + '\\n\\n' }}{%- set ns.system = '' %}{%- endif %}\n"
    "{{- message.content + ' [/INST]' }}\n"
    "{%- elif message.role == 'assistant' %}\n"
    "{%- generation %}{{- ' ' + message.content.strip() + eos_token }}{%- endgeneration %}\n"
    "{%- elif message.role != 'system' %}\n"
    "{{- raise_exception('mistral knows messages of system, user and assistant, not of ' + message.role) }}\n"
    "{%- endif %}\n"
    "{%- endfor %}\n";

static const char zephyr[] =
    "{%- for message in messages %}\n"
    "{{- '<|' + message.role + '|>\\n' }}\n"
    "{%- if message.role == 'assistant' %}\n"
    "{%- generation %}{{- message.content + eos_token }}{%- endgeneration %}\n"
    "{%- else %}\n"
    "{{- message.content + eos_token }}\n"
    "{%- endif %}\n"
    "{{- '\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{%- endif %}\n";

static const char gemma[] =
    "{{- bos_token }}\n"
    TAKE_SYSTEM
    "{%- if message.role == 'assistant' %}\n"
    "{{- '<start_of_turn>model\\n' }}\n"
    "{%- generation %}{{- message.content | trim + '<end_of_turn>' }}{%- endgeneration %}\n"
    "{{- '\\n' }}\n"
    "{%- elif message.role != 'system' %}\n"
    "{{- '<start_of_turn>' + message.role + '\\n' }}\n"
    "{%- if ns.system %}{{- ns.system + '\\n\\n' }}{%- set ns.system = '' %}{%- endif %}\n"
    "{{- message.content | trim + '<end_of_turn>\\n' }}\n"
    "{%- endif %}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{%- endif %}\n";

static const char alpaca[] =
    "{%- if bos_token is defined %}{{- bos_token }}{%- endif %}\n"
    "{%- if messages and messages[0].role == 'system' %}\n"
    "{{- messages[0].content + '\\n\\n' }}\n"
    "{%- else %}\n"
    "{{- 'Below is an instruction that describes a task. Write a response that appropriately completes the request.\\n\\n' }}\n"
    "{%- endif %}\n"
    "{%- for message in messages %}\n"
    "{%- if message.role == 'user' %}\n"
    "{{- '### Instruction:\\n' + message.content + '\\n\\n' }}\n"
    "{%- elif message.role == 'assistant' %}\n"
    "{{- '### Response:\\n' }}\n"
    "{%- generation %}{{- message.content + eos_token }}{%- endgeneration %}\n"
    "{{- '\\n\\n' }}\n"
    "{%- elif message.role != 'system' %}\n"
    "{{- raise_exception('alpaca knows messages of system, user and assistant, not of ' + message.role) }}\n"
    "{%- endif %}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '### Response:\\n' }}{%- endif %}\n";

static const struct {
    const char *name, *other, *text;
} builtin[] = {
    {"chatml", "chat-ml", chatml}, {"llama-2", "llama2", llama_2},   {"llama-3", "llama3", llama_3}, {"mistral", "mistral-v1", mistral},
    {"zephyr", "zephyr-7b", zephyr}, {"gemma", "gemma-2", gemma}, {"alpaca", "stanford-alpaca", alpaca},
};

const char *ql_builtin_template(const char *name) {
    for (size_t i = 0; i < QL_LEN(builtin); i++)
        if (!strcmp(builtin[i].name, name) || !strcmp(builtin[i].other, name)) return builtin[i].text;
    return NULL;
}

void ql_builtin_names(ql_str *out) {
    for (size_t i = 0; i < QL_LEN(builtin); i++) ql_str_printf(out, "%s%s", i == 0 ? "" : i + 1 < QL_LEN(builtin) ? ", " : " or ", builtin[i].name);
}
