/* The trace: the daemons' own log lines, and what the world does to them. It
 * has a hash, by which two runs of a seed are compared. In place of base/log.c.
 */
#include "tests/sim/sim.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool shown;
static uint64_t hash;

void sim_trace_start(bool show)
{
    shown = show;
    hash = UINT64_C(0xcbf29ce484222325);
}

uint64_t sim_trace_hash(void)
{
    return hash;
}

static void mix(const char *text)
{
    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3); /* FNV-1a */
    }
}

static void put(const char *who, const char *line)
{
    char head[48];
    (void)snprintf(head, sizeof head, "%4" PRIu64 ".%06" PRIu64 " %-9s ", sim.now_us / 1000000,
                   sim.now_us % 1000000, who);
    mix(head);
    mix(line);
    if (shown) {
        printf("%s%s\n", head, line);
    }
}

void sim_trace(const char *who, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    put(who, line);
}

bool tpc_log_enabled(enum tpc_log_level level)
{
    return level >= TPC_LOG_INFO;
}

static size_t print_pair(char *out, size_t size, const struct tpc_kv *pair)
{
    char id[TPC_ID_TEXT];
    int n = 0;
    switch (pair->type) {
    case TPC_KV_STR:
        n = pair->str != NULL ? snprintf(out, size, " %s=\"%s\"", pair->key, pair->str) : 0;
        break;
    case TPC_KV_INT:
        n = snprintf(out, size, " %s=%" PRId64, pair->key, pair->i);
        break;
    case TPC_KV_UINT:
        n = snprintf(out, size, " %s=%" PRIu64, pair->key, pair->u);
        break;
    case TPC_KV_ID:
        n = snprintf(out, size, " %s=%s", pair->key, tpc_id_format(pair->id, id));
        break;
    case TPC_KV_END:
    default:
        break;
    }
    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

/* The driver tells which attempt is whose by this line alone. */
static void note_attempt(const char *evt, const struct tpc_kv *pairs)
{
    const struct tpc_id *gtid = NULL, *id = NULL;
    if (strcmp(evt, "txn.again") != 0) {
        return;
    }
    for (; pairs->type != TPC_KV_END; pairs++) {
        if (pairs->type == TPC_KV_ID && strcmp(pairs->key, "gtid") == 0) {
            gtid = pairs->id;
        } else if (pairs->type == TPC_KV_ID && strcmp(pairs->key, "id") == 0) {
            id = pairs->id;
        }
    }
    if (gtid != NULL && id != NULL) {
        sim_check_attempt(gtid, id);
    }
}

void tpc_log_write(enum tpc_log_level level, const char *evt, const struct tpc_kv *pairs)
{
    char line[1024];
    size_t at = (size_t)snprintf(line, sizeof line, "evt=%s", evt);
    (void)level;
    for (const struct tpc_kv *pair = pairs; pair->type != TPC_KV_END; pair++) {
        at += print_pair(line + at, sizeof line - at, pair);
    }
    put(sim.current != NULL ? sim.current->name : "world", line);
    note_attempt(evt, pairs);
}

void tpc_log_flush(void)
{
}

void tpc_log_flush_last(void)
{
}
