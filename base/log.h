/* Operational log on stderr: one line an event, logfmt or JSON, stable keys.
 *
 *   evt=txn.move gtid=0199… from=PREPARING to=LOGGING cause=VOTE_YES participant=west
 *
 * Lines are gathered and written by tpc_log_flush (drivers call it once a loop turn); warnings and
 * errors are written at once, with all that was gathered before them. A non-blocking stderr that
 * is full is not waited for: up to 1 MiB is held back, and `evt=log.lost lines=…` tells of lines
 * beyond that. Thread-safe. Only drivers
 * and mains log; library code returns errors. */
#ifndef ASSENT_BASE_LOG_H
#define ASSENT_BASE_LOG_H

#include "base/id.h"

enum tpc_log_level { TPC_LOG_DEBUG, TPC_LOG_INFO, TPC_LOG_WARN, TPC_LOG_ERROR };
enum tpc_log_format { TPC_LOG_LOGFMT, TPC_LOG_JSON };

struct tpc_kv {
    enum { TPC_KV_END, TPC_KV_STR, TPC_KV_INT, TPC_KV_UINT, TPC_KV_ID } type;
    const char *key;
    union {
        const char *str; /* NULL: the pair is left out */
        int64_t i;
        uint64_t u;
        const struct tpc_id *id;
    };
};

#define tpc_kv_str(k, v)  ((struct tpc_kv){.type = TPC_KV_STR, .key = (k), .str = (v)})
#define tpc_kv_int(k, v)  ((struct tpc_kv){.type = TPC_KV_INT, .key = (k), .i = (v)})
#define tpc_kv_uint(k, v) ((struct tpc_kv){.type = TPC_KV_UINT, .key = (k), .u = (v)})
#define tpc_kv_id(k, v)   ((struct tpc_kv){.type = TPC_KV_ID, .key = (k), .id = (v)})

/* Call once, before other threads start. */
void tpc_log_setup(enum tpc_log_level level, enum tpc_log_format format);
bool tpc_log_enabled(enum tpc_log_level level);
void tpc_log_write(enum tpc_log_level level, const char *evt, const struct tpc_kv *pairs);
void tpc_log_flush(void);
/* For a process about to end, even one about to abort: waits up to a second for a stderr that takes
 * nothing, but for no lock. */
void tpc_log_flush_last(void);

/* "debug" "info" "warn" "error"; "logfmt" "json". False leaves the result untouched. */
TPC_NODISCARD bool tpc_log_parse_level(const char *text, enum tpc_log_level *ret_level);
TPC_NODISCARD bool tpc_log_parse_format(const char *text, enum tpc_log_format *ret_format);

/* tpc_log(TPC_LOG_INFO, "daemon.ready", tpc_kv_str("url", url)) */
#define tpc_log(level, evt, ...)                                                                   \
    (tpc_log_enabled(level)                                                                        \
         ? tpc_log_write((level), (evt),                                                           \
                         (const struct tpc_kv[]){__VA_ARGS__, {.type = TPC_KV_END}})               \
         : (void)0)

#endif
