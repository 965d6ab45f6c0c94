/* A job: everything that one process of a run owns, built in the order in which it can fail
 * cheaply: configuration, data, headers of the model, memory plan, and only then the weights. */
#pragma once
#include "collective/collective.h"
#include "worker/batch.h"
#include "worker/best.h"
#include "worker/cards.h"
#include "worker/claim.h"
#include "worker/deal.h"
#include "worker/exchange.h"
#include "worker/guard.h"
#include "worker/machines.h"
#include "worker/loss_scale.h"
#include "worker/memory.h"
#include "worker/model/adapter.h"
#include "worker/model/model.h"
#include "worker/objective/objective.h"

/* What the ranks agree upon beside a step (ballot.h); asked for right before the vote. */
typedef struct {
    int  stop_signal; /* a signal that asked for the end of the run, or 0 */
    bool save;        /* a checkpoint is due after this step              */
} ql_wishes;
typedef struct {
    ql_err (*ask)(void *context, ql_wishes *out); /* a bad verdict is the step's */
    void *context;
} ql_wisher;

typedef struct {
    ql_config     config;
    ql_world     *world;
    ql_place      place;
    ql_machines   machines;    /* that the working ranks are on */
    ql_device    *device;      /* NULL while planning for a device that is not there */
    const char   *device_kind;
    const ql_card *card;       /* planned for, and not there; NULL: none             */
    int           ordinal;     /* of the device among those that this process sees   */
    int           threads;     /* of this rank, where it computes on the CPU         */
    ql_dtype      operands;    /* of all products; ql_choose_device                  */
    int           threads_alone; /* the same while the others of its machine wait      */
    bool          prepares;    /* data only, for the next start                       */
    ql_chat       chat;        /* the template of conversations, if there is one */
    ql_tokenizer *tokenizer;   /* NULL once the data are read and the model is loaded */

    ql_corpus  train, eval;
    ql_row_set train_rows, eval_rows;
    ql_audit   audit;           /* of tokenizer and model; those of the data are in the corpora */
    int64_t    global_batch;    /* rows of one optimiser step                       */
    int64_t    steps_per_epoch, total_steps;
    uint64_t   config_digest; /* of what decides the results; 0: not compared          */
    const ql_wisher *wisher;  /* NULL: nothing is wished                               */
    int64_t   *ballots;       /* of the ranks in the last vote                         */
    int64_t   *step_rows;   /* [global_batch], but no more than there are                  */
    int64_t   *order;       /* of the training rows in epoch order_epoch - 1; NULL at first */
    int64_t    order_epoch; /* 0: none yet                                                 */

    ql_model       model;
    ql_adapter     adapter;
    bool           has_adapter;
    ql_memory_question question; /* of which `plan` is the answer */
    ql_memory_plan plan;
    ql_buffer     *arena;    /* in which the plan's schedules run */
    ql_buffer     *shadow;   /* decoded copies of weights; NULL: none */
    void          *borders;  /* host memory of the training plan; NULL: it needs none */
    void            *copy_memory; /* of `copy` */
    ql_adapter_copy  copy;        /* of adapter and moments, while a checkpoint is read or written; training only */
    ql_batch_buffers batch;
    ql_host_batch    host;
    float           *coef;   /* [micro_tokens] */
    const ql_objective *objective;
    ql_exchange      exchange; /* of gradients; training only */
    ql_deal          deal;     /* of rows                     */
    ql_loss_scale    loss_scale; /* part of the state, as the adapter is */
    ql_guard         guard;      /* likewise                             */
    ql_best          best;       /* likewise                             */
    int64_t          evaluated;  /* the step of the last evaluation made; -1: none */
    bool             has_updated; /* a step of this process has queued its update */
    ql_claim         claim;      /* of output_dir: all of it on rank 0 of a training, the generation on all its ranks */
} ql_job;

typedef enum { QL_JOB_TRAIN, QL_JOB_EVAL } ql_job_purpose;

/* All collective where j->world has several ranks. j->config, world, place and device are set by
 * the caller, who also owns the world. */
QL_RESULT ql_job_read_data(ql_job *j, ql_job_purpose purpose);
QL_RESULT ql_job_describe_model(ql_job *j, ql_job_purpose purpose);
/* j->question, and then its answer j->plan. */
QL_RESULT ql_job_ask_memory(ql_job *j, ql_job_purpose purpose);
QL_RESULT ql_job_plan(ql_job *j, ql_job_purpose purpose);
/* Of a device that is there (not of a CPU): what this run may take of its memory. */
uint64_t  ql_job_limit(const ql_job *j, const ql_device_info *info);
QL_RESULT ql_job_load(ql_job *j, ql_job_purpose purpose);
void      ql_job_close(ql_job *j);

/* The first lines of a run: model, data, devices, plan, output. */
void ql_job_report(const ql_job *j, ql_job_purpose purpose);
/* Local. Runs what is in j->host: with the training plan when `training`, adding gradients. The
 * log-probabilities are in j->batch.logp afterwards. */
QL_RESULT ql_job_run_host_batch(ql_job *j, bool training, uint32_t step);
/* Local. Waits for what is queued: bits of ql_grad_flaw of all gradients since j->adapter.flaws were zeroed; those of each
 * module are in j->adapter.flaws_on_host afterwards. */
QL_RESULT ql_job_gradient_flaws(ql_job *j, int32_t *flaws);
