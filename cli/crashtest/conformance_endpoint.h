/* The coordinator that a participant asks about branches in doubt: POST /v1/decisions, on a thread
 * of its own. It says "undecided" of every gtid that it was not told about. Thread-safe. */
#ifndef ASSENT_CLI_CRASHTEST_CONFORMANCE_ENDPOINT_H
#define ASSENT_CLI_CRASHTEST_CONFORMANCE_ENDPOINT_H

#include "api/codec.h"

struct cli_endpoint;

/* @listen: "127.0.0.1:0". One in a process (it has the process's signals, which end it). */
TPC_NODISCARD enum tpc_rc cli_endpoint_start(const char *listen, struct cli_endpoint **ret_endpoint,
                                             struct tpc_err *reterr);
void cli_endpoint_stop(struct cli_endpoint *endpoint); /* and free */
const char *cli_endpoint_url(const struct cli_endpoint *endpoint);

/* Who we are from now on; inquiries about others are answered 409, as the protocol has it. */
void cli_endpoint_be(struct cli_endpoint *endpoint, const struct api_coordinator *coordinator);
/* What is said of @gtid from now on. */
void cli_endpoint_decide(struct cli_endpoint *endpoint, const struct tpc_id *gtid,
                         enum api_outcome outcome);
/* From now on answers come from a coordinator of another id, and say that all is aborted; NULL: no
 * more. */
void cli_endpoint_pretend(struct cli_endpoint *endpoint, const struct tpc_id *id);

/* What was asked about one gtid. */
struct cli_asked {
    unsigned count; /* inquiries that named it */
    struct tpc_id participant_id;
    bool as_remembered; /* the coordinator in the last inquiry was ours, with its generation and
                           nonce */
};
/* Until @gtid was asked for @count times since the start; false after @timeout_ms. @ret_asked may
 * be NULL. */
bool cli_endpoint_wait(struct cli_endpoint *endpoint, const struct tpc_id *gtid, unsigned count,
                       unsigned long timeout_ms, struct cli_asked *ret_asked);
/* What was wrong with an inquiry: "" when nothing was. @out has 256 bytes. */
void cli_endpoint_complaint(struct cli_endpoint *endpoint, char *out);

#endif
