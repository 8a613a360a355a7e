/* Many HTTP/1.1 requests at once, for as little CPU as a load generator should take beside what it
 * measures: kept connections, one request on each, edge-triggered epoll, no system call but a send
 * and a receive for a request. Plain http only. One thread. */
#ifndef ASSENT_CLI_BENCH_PUMP_H
#define ASSENT_CLI_BENCH_PUMP_H

#include "base/buf.h"

struct cli_pump;

struct cli_pump_answer {
    int status;
    unsigned retry_after_s; /* 0: not told */
    const char *body;
    size_t body_size;
};

struct cli_pump_events {
    void *arg;
    /* A request on @slot was answered; the slot is free again, and may be used here. */
    void (*on_answer)(void *arg, unsigned slot, const struct cli_pump_answer *answer);
    /* The connection broke under a request, which may have arrived. The slot is free. */
    void (*on_broken)(void *arg, unsigned slot);
};

/* @slots connections to @url's host; each is made when it is needed first. TPC_EINVAL for what is
 * no http URL, TPC_EUNREACHABLE when the name does not resolve. @events is copied. */
TPC_NODISCARD enum tpc_rc cli_pump_new(const char *url, unsigned slots,
                                       const struct cli_pump_events *events,
                                       struct cli_pump **ret_pump, struct tpc_err *reterr);
/* POST @body as application/json to @path of @slot's host, which must be free. TPC_EUNREACHABLE:
 * there is no connection, and nothing was sent. */
TPC_NODISCARD enum tpc_rc cli_pump_post(struct cli_pump *pump, unsigned slot, const char *path,
                                        const struct tpc_buf *body, struct tpc_err *reterr);
/* Give up the request on @slot, without an event. */
void cli_pump_cancel(struct cli_pump *pump, unsigned slot);
/* Wait for at most @timeout_us and handle what came. Ends early for a signal. */
void cli_pump_turn(struct cli_pump *pump, uint64_t timeout_us);
void cli_pump_free(struct cli_pump *pump);

#endif
