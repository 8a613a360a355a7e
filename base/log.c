#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/tpc_assert.h"
#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    GATHER_BYTES = 64 * 1024,     /* more than this is written without waiting for a flush */
    HELD_MAX_BYTES = 1024 * 1024, /* with stderr stuck, lines beyond this are lost */
    LAST_WAIT_MS = 1000,
    RESERVE_BYTES = 4096, /* for a line that tells that memory ran out */
};

static const char *const level_names[] = {
    [TPC_LOG_DEBUG] = "debug",
    [TPC_LOG_INFO] = "info",
    [TPC_LOG_WARN] = "warn",
    [TPC_LOG_ERROR] = "error",
};
static const char *const format_names[] = {
    [TPC_LOG_LOGFMT] = "logfmt",
    [TPC_LOG_JSON] = "json",
};

static atomic_int log_level = TPC_LOG_INFO;
static enum tpc_log_format log_format = TPC_LOG_LOGFMT;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tpc_buf gathered; /* under lock: whole lines, but the first may be half written */
static uint64_t lost_lines;     /* under lock */

void tpc_log_setup(enum tpc_log_level level, enum tpc_log_format format)
{
    atomic_store(&log_level, (int)level);
    log_format = format;
    (void)tpc_buf_reserve(&gathered, RESERVE_BYTES);
}

bool tpc_log_enabled(enum tpc_log_level level)
{
    return (int)level >= atomic_load_explicit(&log_level, memory_order_relaxed);
}

bool tpc_log_parse_level(const char *text, enum tpc_log_level *ret_level)
{
    for (int i = TPC_LOG_DEBUG; i <= TPC_LOG_ERROR; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum tpc_log_level)i;
            return true;
        }
    }
    return false;
}

bool tpc_log_parse_format(const char *text, enum tpc_log_format *ret_format)
{
    for (int i = TPC_LOG_LOGFMT; i <= TPC_LOG_JSON; i++) {
        if (strcmp(text, format_names[i]) == 0) {
            *ret_format = (enum tpc_log_format)i;
            return true;
        }
    }
    return false;
}

/* The length of the character at @s, or 0 when it is no UTF-8. */
static size_t utf8_length(const unsigned char *s)
{
    return s[0] < 0x80 ? 1 : tpc_utf8_sequence(s, strnlen((const char *)s, 4));
}

/* The same escapes serve JSON and quoted logfmt. */
static void add_quoted(struct tpc_buf *out, const char *text)
{
    tpc_buf_addc(out, '"');
    for (const unsigned char *s = (const unsigned char *)text; *s != '\0';) {
        size_t length = utf8_length(s);
        if (length == 0) {
            tpc_buf_adds(out, "\xef\xbf\xbd"); /* U+FFFD */
            length = 1;
        } else if (*s == '"' || *s == '\\') {
            tpc_buf_addc(out, '\\');
            tpc_buf_addc(out, (char)*s);
        } else if (*s == '\n') {
            tpc_buf_adds(out, "\\n");
        } else if (*s == '\t') {
            tpc_buf_adds(out, "\\t");
        } else if (*s < 0x20 || *s == 0x7f) {
            tpc_buf_addf(out, "\\u%04x", (unsigned)*s);
        } else {
            tpc_buf_add(out, s, length);
        }
        s += length;
    }
    tpc_buf_addc(out, '"');
}

static bool is_plain(const char *text)
{
    if (*text == '\0') {
        return false;
    }
    for (const unsigned char *s = (const unsigned char *)text; *s != '\0';) {
        size_t length = *s < 0x80 ? 1 : utf8_length(s);
        if (length == 0 || *s <= ' ' || *s == '"' || *s == '=' || *s == '\\' || *s == 0x7f) {
            return false;
        }
        s += length;
    }
    return true;
}

static void add_key(struct tpc_buf *out, const char *key)
{
    if (log_format == TPC_LOG_JSON) {
        tpc_buf_addc(out, ',');
        add_quoted(out, key);
        tpc_buf_addc(out, ':');
    } else {
        tpc_buf_addc(out, ' ');
        tpc_buf_adds(out, key);
        tpc_buf_addc(out, '=');
    }
}

static void add_text(struct tpc_buf *out, const char *text)
{
    if (log_format == TPC_LOG_JSON || !is_plain(text)) {
        add_quoted(out, text);
    } else {
        tpc_buf_adds(out, text);
    }
}

/* Of letters, digits and dashes. */
static void add_word(struct tpc_buf *out, const char *word)
{
    const char *quote = log_format == TPC_LOG_JSON ? "\"" : "";
    tpc_buf_adds(out, quote);
    tpc_buf_adds(out, word);
    tpc_buf_adds(out, quote);
}

static void add_pair(struct tpc_buf *out, const struct tpc_kv *pair)
{
    if (pair->type == TPC_KV_STR && pair->str == NULL) {
        return;
    }
    add_key(out, pair->key);
    char id[TPC_ID_TEXT];
    switch (pair->type) {
    case TPC_KV_STR:
        add_text(out, pair->str);
        break;
    case TPC_KV_INT:
        tpc_buf_addf(out, "%" PRId64, pair->i);
        break;
    case TPC_KV_UINT:
        tpc_buf_addf(out, "%" PRIu64, pair->u);
        break;
    case TPC_KV_ID:
        add_word(out, tpc_id_format(pair->id, id));
        break;
    case TPC_KV_END:
        break;
    }
}

static void add_line(struct tpc_buf *out, enum tpc_log_level level, const char *evt,
                     const struct tpc_kv *pairs)
{
    char time[TPC_TIME_TEXT];
    tpc_time_format(tpc_clock_wall_us(), time);
    tpc_buf_adds(out, log_format == TPC_LOG_JSON ? "{\"ts\":\"" : "ts=");
    tpc_buf_adds(out, time);
    tpc_buf_adds(out, log_format == TPC_LOG_JSON ? "\",\"level\":\"" : " level=");
    tpc_buf_adds(out, level_names[level]);
    tpc_buf_adds(out, log_format == TPC_LOG_JSON ? "\"" : "");
    add_key(out, "evt");
    add_text(out, evt);
    for (; pairs->type != TPC_KV_END; pairs++) {
        add_pair(out, pairs);
    }
    tpc_buf_adds(out, log_format == TPC_LOG_JSON ? "}\n" : "\n");
}

/* Add a whole line or, with no memory or too much held back already, none; under lock. */
static bool add_whole(enum tpc_log_level level, const char *evt, const struct tpc_kv *pairs)
{
    if (gathered.size >= HELD_MAX_BYTES) {
        return false;
    }
    size_t before = gathered.size;
    add_line(&gathered, level, evt, pairs);
    if (gathered.failed) {
        gathered.failed = false;
        gathered.size = before;
        return false;
    }
    return true;
}

/* Write what is gathered; under lock. A full stderr that takes nothing for @wait_ms leaves the rest
 * for the next time; one that is closed loses all, for there is nobody to tell. */
static void write_out(int wait_ms)
{
    size_t done = 0;
    while (done < gathered.size) {
        ssize_t n = write(STDERR_FILENO, gathered.data + done, gathered.size - done);
        if (n >= 0) {
            done += (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
            if (poll(&fd, 1, wait_ms) == 0) {
                break;
            }
        } else if (errno != EINTR) {
            done = gathered.size;
        }
    }
    tpc_buf_consume(&gathered, done);
}

/* With no memory what was gathered makes room. */
static bool gather(enum tpc_log_level level, const char *evt, const struct tpc_kv *pairs)
{
    if (add_whole(level, evt, pairs)) {
        return true;
    }
    write_out(0);
    return add_whole(level, evt, pairs);
}

/* No memory for a line that is likely the last: at least its name. */
static void write_bare(const char *evt)
{
    char time[TPC_TIME_TEXT], line[160];
    const char *format = log_format == TPC_LOG_JSON
                             ? "{\"ts\":\"%s\",\"level\":\"error\",\"evt\":\"%.64s\"}\n"
                             : "ts=%s level=error evt=%.64s\n";
    tpc_time_format(tpc_clock_wall_us(), time);
    int size = snprintf(line, sizeof line, format, time, evt);
    (void)!write(STDERR_FILENO, line, (size_t)size);
}

void tpc_log_write(enum tpc_log_level level, const char *evt, const struct tpc_kv *pairs)
{
    if (!tpc_log_enabled(level)) {
        return;
    }
    int saved_errno = errno;
    pthread_mutex_lock(&lock);
    if (lost_lines > 0) {
        const struct tpc_kv lost[] = {tpc_kv_uint("lines", lost_lines), {.type = TPC_KV_END}};
        lost_lines = gather(TPC_LOG_WARN, "log.lost", lost) ? 0 : lost_lines;
    }
    if (!gather(level, evt, pairs)) {
        lost_lines++;
        if (level == TPC_LOG_ERROR) {
            write_bare(evt);
        }
    }
    if (level >= TPC_LOG_WARN || gathered.size >= GATHER_BYTES) {
        write_out(0);
    }
    pthread_mutex_unlock(&lock);
    errno = saved_errno;
}

void tpc_log_flush(void)
{
    int saved_errno = errno;
    pthread_mutex_lock(&lock);
    write_out(0);
    pthread_mutex_unlock(&lock);
    errno = saved_errno;
}

void tpc_log_flush_last(void)
{
    if (pthread_mutex_trylock(&lock) == 0) {
        write_out(LAST_WAIT_MS);
        pthread_mutex_unlock(&lock);
    }
}
