/* The messages of Assent as structs: what a client submits, what coordinator and participant say
 * to each other. Decoding copies what it keeps; every *_done frees that. Pure but for memory. */
#ifndef ASSENT_API_CODEC_H
#define ASSENT_API_CODEC_H

#include "api/json.h"

/* Where and why a document was refused; becomes a problem document (api/problem.h). */
struct api_refusal {
    enum tpc_rc rc;   /* TPC_ESYNTAX 400, TPC_EINVAL 422, TPC_ETOOBIG 413, TPC_ENOMEM 503 */
    char field[160];  /* "branches[0].statements[2].params[1]", "" for the whole */
    char detail[512]; /* what is wrong and what would be right */
};

/* 0: the default. */
struct api_codec_limits {
    size_t branches;             /* default 64, at most 64 */
    size_t statements;           /* a branch, default 1000 */
    size_t params;               /* a statement, default 32766 */
    uint64_t timeout_ms_max;     /* default 1 h */
    uint64_t timeout_ms_default; /* default 10 s */
};

enum api_isolation { API_ISOLATION_DEFAULT, API_ISOLATION_SERIALIZABLE };
enum api_ack { API_ACK_APPLIED, API_ACK_DECIDED };

/* ---- Submit: POST /v1/transactions ---- */

struct api_submit_branch {
    char *participant;
    char *statements; /* the validated array as compact JSON, ready to be sent on */
    size_t statements_size;
};

struct api_submit {
    char *label; /* NULL when absent */
    uint64_t timeout_ms;
    enum api_ack ack;
    enum api_isolation isolation;
    bool open; /* interactive: no branches yet */
    size_t branch_count;
    struct api_submit_branch *branches;
};

/* Check everything api.md says of the body: unknown members, types, ranges, each participant once,
 * statements with sql, params and expect. `{"open": true}` has no branches: they come with
 * api_execute_decode.
 *
 * Here and below: what is returned is zeroed on failure; the api_*_done zero what they free. */
TPC_NODISCARD enum tpc_rc api_submit_decode(const char *body, size_t size,
                                            const struct api_codec_limits *limits,
                                            struct api_submit *ret_submit,
                                            struct api_refusal *reterr);
void api_submit_done(struct api_submit *submit);

/* POST /v1/transactions/{id}/statements: {"participant", "statements"}. */
TPC_NODISCARD enum tpc_rc api_execute_decode(const char *body, size_t size,
                                             const struct api_codec_limits *limits,
                                             struct api_submit_branch *ret_branch,
                                             struct api_refusal *reterr);
void api_submit_branch_done(struct api_submit_branch *branch);

/* ---- Statements, as the participant sees them ---- */

enum api_value_type { API_NULL, API_BOOL, API_INT64, API_DOUBLE, API_TEXT, API_BLOB };

struct api_value {
    enum api_value_type type;
    union {
        bool boolean;
        int64_t int64; /* also for JSON numbers that are integral */
        double real;
        struct {
            char *data; /* NUL-terminated too */
            size_t size;
        } bytes; /* API_TEXT, API_BLOB (decoded) */
    };
};

struct api_statement {
    char *sql;
    size_t param_count;
    struct api_value *params;
    bool has_expect;
    uint64_t expect_min, expect_max; /* rows changed or returned; max UINT64_MAX: no bound */
};

struct api_statements {
    size_t count;
    struct api_statement *items;
};
void api_statements_done(struct api_statements *statements);

/* One value of a result row, in the form parameters have: {"int64": …} beyond 2^53, {"blob": …}. */
void api_value_write(struct tpc_buf *out, const struct api_value *value);

/* ---- Coordinator to participant: POST /v1/messages ---- */

enum api_op { API_OP_PREPARE, API_OP_COMMIT, API_OP_ABORT, API_OP_EXECUTE, API_OP_COUNT };
const char *api_op_name(enum api_op op);

/* Which coordinator speaks; carried in every message. */
struct api_coordinator {
    struct tpc_id id;
    uint64_t generation;
    struct tpc_id nonce;
    /* It has forgotten all its transactions with a smaller gtid, and in this generation begins none
     * with one; zero: not told. Not in an inquiry. */
    struct tpc_id forgotten_below;
    char url[256]; /* where to ask; "" in an inquiry */
};

struct api_message {
    enum api_op op;
    bool gtid_valid;
    struct tpc_id gtid;
    char gtid_text[64];           /* as sent, cut, for the answer to an invalid one */
    struct tpc_id participant_id; /* the log that it is for; zero: whichever there is */
    /* prepare and execute only */
    uint64_t executed;   /* how many executes of this branch came before; with a prepare, more than
                            none: of an interactive branch, whose work is done */
    uint64_t began_us;   /* start of the transaction's first attempt: its age for wait-die; when the
                            coordinator did not tell: 2^53 - 1, younger than any */
    uint64_t timeout_ms; /* at most limits->timeout_ms_max: what is above is cut, not refused */
    bool one_phase;      /* also on an abort of such a branch: the tombstone must be durable */
    enum api_isolation isolation;
    struct api_statements statements;
};

struct api_envelope {
    struct api_coordinator coordinator;
    size_t count;
    struct api_message *messages;
};

/* A gtid that is no UUID makes a message with gtid_valid false, for the others are carried out;
 * anything else that is wrong refuses the whole. */
TPC_NODISCARD enum tpc_rc api_envelope_decode(const char *body, size_t size,
                                              const struct api_codec_limits *limits,
                                              size_t messages_max,
                                              struct api_envelope *ret_envelope,
                                              struct api_refusal *reterr);
void api_envelope_done(struct api_envelope *envelope);

/* Write: api_envelope_begin, then api_message_write for each, then api_envelope_end. @statements is
 * ready JSON (api_submit_branch.statements) or NULL; message->statements is not looked at. */
void api_envelope_begin(struct tpc_buf *out, const struct api_coordinator *coordinator);
void api_message_write(struct tpc_buf *out, const struct api_message *message,
                       const char *statements, size_t statements_size);
void api_envelope_end(struct tpc_buf *out);

/* ---- Participant to coordinator: a line for each message ---- */

enum api_vote { API_VOTE_NONE, API_VOTE_YES, API_VOTE_NO, API_VOTE_READ_ONLY, API_VOTE_COMMITTED };
enum api_branch_state { API_STATE_NONE, API_STATE_COMMITTED, API_STATE_ABORTED, API_STATE_UNKNOWN };
enum api_answer_error {
    API_ERROR_NONE,
    API_ERROR_WRONG_COORDINATOR,
    API_ERROR_LOG_SET_BACK,
    API_ERROR_INVALID_GTID,
    API_ERROR_WRONG_PARTICIPANT, /* the message names another log, of which there is no proof */
    API_ERROR_PROTOCOL, /* not allowed in this state, e.g. commit of a branch that did not vote */
};

/* Order of api.md; the names on the wire are api_cause_name. */
enum api_cause_code {
    API_CAUSE_NONE,
    API_CAUSE_SQL_ERROR,
    API_CAUSE_CONSTRAINT,
    API_CAUSE_EXPECTATION_FAILED,
    API_CAUSE_CONFLICT,
    API_CAUSE_TIMEOUT,
    API_CAUSE_UNREACHABLE,
    API_CAUSE_PARTICIPANT_ERROR,
    API_CAUSE_CLIENT_ABORT,
    API_CAUSE_NOT_SUPPORTED,
    API_CAUSE_WORK_LOST,
    API_CAUSE_COUNT
};
const char *api_cause_name(enum api_cause_code code);
bool api_cause_retryable(
    enum api_cause_code code); /* conflict timeout unreachable participant_error work_lost */

struct api_cause {
    enum api_cause_code code;
    int statement;    /* index, -1: none */
    char *detail;     /* the database's own words; heap, may be NULL */
    char sqlstate[6]; /* "" when there is none */
};
void api_cause_done(struct api_cause *cause);
/* The members code, participant, statement, detail, sqlstate as an object, without those that there
 * are none of; @participant may be NULL. */
void api_cause_write(struct tpc_buf *out, const struct api_cause *cause, const char *participant);

struct api_answer {
    enum api_op op;
    bool gtid_valid;
    struct tpc_id gtid;
    char gtid_text[64];
    struct tpc_id participant_id;
    enum api_vote vote;
    enum api_branch_state state;
    enum api_answer_error error;
    struct api_cause cause;
    char *results; /* JSON array, heap; NULL when there is none */
    size_t results_size;
    /* With API_ERROR_LOG_SET_BACK: the highest generation of this coordinator that was seen. */
    uint64_t generation_seen;
};
/* A whole line with its '\n'. */
void api_answer_write(struct tpc_buf *out, const struct api_answer *answer);
/* Unknown members are ignored here: a newer participant may say more. An error
 * whose name we do not know becomes API_ERROR_PROTOCOL, a cause API_CAUSE_PARTICIPANT_ERROR, and so
 * does a "no" without a cause. An answer to prepare must have a vote or an error, one to commit and
 * abort a state or an error, one to execute results, a cause or an error: else TPC_EINVAL. */
TPC_NODISCARD enum tpc_rc api_answer_decode(const char *line, size_t size,
                                            struct api_answer *ret_answer, struct tpc_err *reterr);
void api_answer_done(struct api_answer *answer);

/* ---- Inquiry: POST /v1/decisions ---- */

enum api_outcome { API_OUTCOME_UNDECIDED, API_OUTCOME_COMMIT, API_OUTCOME_ABORT };
const char *api_outcome_name(enum api_outcome outcome);

struct api_inquiry {
    struct tpc_id participant_id;
    struct api_coordinator coordinator; /* as remembered with the branches; url not sent */
    size_t count;
    struct tpc_id *gtids;
};
TPC_NODISCARD enum tpc_rc api_inquiry_decode(const char *body, size_t size, size_t gtids_max,
                                             struct api_inquiry *ret_inquiry,
                                             struct api_refusal *reterr);
void api_inquiry_write(struct tpc_buf *out, const struct api_inquiry *inquiry);
void api_inquiry_done(struct api_inquiry *inquiry);

struct api_decision {
    struct tpc_id gtid;
    enum api_outcome outcome;
};
struct api_decisions {
    struct tpc_id coordinator_id;
    uint64_t generation;           /* of the coordinator; 0: not told */
    struct tpc_id forgotten_below; /* as in struct api_coordinator */
    size_t count;
    struct api_decision *items;
};
void api_decisions_write(struct tpc_buf *out, const struct api_decisions *decisions);
TPC_NODISCARD enum tpc_rc api_decisions_decode(const char *body, size_t size,
                                               struct api_decisions *ret_decisions,
                                               struct tpc_err *reterr);
void api_decisions_done(struct api_decisions *decisions);

/* ---- Small bodies ---- */

/* POST /v1/branches/{gtid}/resolve */
struct api_resolve {
    enum api_outcome outcome;     /* commit or abort */
    char *reason, *operator_name; /* never NULL; "" when not given */
};
TPC_NODISCARD enum tpc_rc api_resolve_decode(const char *body, size_t size,
                                             struct api_resolve *ret_resolve,
                                             struct api_refusal *reterr);
/* The same without an outcome; all of it, and the body too, may be left out. */
TPC_NODISCARD enum tpc_rc api_forget_decode(const char *body, size_t size,
                                            struct api_resolve *ret_forget,
                                            struct api_refusal *reterr);
void api_resolve_done(struct api_resolve *resolve);

/* PUT /v1/participants/{name}: {"url": "http://host:port"} */
TPC_NODISCARD enum tpc_rc api_participant_decode(const char *body, size_t size, char **ret_url,
                                                 struct api_refusal *reterr);
/* http or https, a host, perhaps a port and a path; no user, query or fragment; at most 255
 * characters. api_participant_decode cuts a trailing slash. */
TPC_NODISCARD bool api_url_check(const char *url);
/* 1 to 64 of [a-z A-Z 0-9 . _ -], starting with a letter or digit. */
TPC_NODISCARD bool api_name_check(const char *name);

/* POST /v1/branches/lookup: {"gtids": [...]} */
TPC_NODISCARD enum tpc_rc api_lookup_decode(const char *body, size_t size, size_t gtids_max,
                                            struct tpc_id **ret_gtids, size_t *ret_count,
                                            struct api_refusal *reterr);

#endif
