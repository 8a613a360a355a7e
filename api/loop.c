#include "api/loop.h"

#include "base/clock.h"
#include "base/memory.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct api_loop {
    struct api_loop_options options;
    uv_loop_t *uv;
    uv_timer_t tick; /* drives the timers */
    uv_prepare_t prepare;
    uv_async_t wake;
    uv_signal_t sigterm, sigint;
    pthread_t worker; /* libuv's own aborts without a word when no thread can be had */
    uv_async_t worked;
    void (*on_work)(void *arg);
    void (*on_worked)(void *arg);
    void *work_arg;
};

static void on_tick(uv_timer_t *timer)
{
    struct api_loop *loop = timer->data;
    tpc_timers_run(loop->options.timers, tpc_clock_mono_ms());
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct api_loop *loop = prepare->data;
    uint64_t look_ms = loop->options.before_sleep(loop->options.arg);
    uint64_t next_ms = tpc_timers_next(loop->options.timers), now_ms = tpc_clock_mono_ms();
    if (look_ms < next_ms) {
        next_ms = look_ms;
    }
    if (next_ms != UINT64_MAX) {
        uv_update_time(loop->uv);
        uv_timer_start(&loop->tick, on_tick, next_ms > now_ms ? next_ms - now_ms : 0, 0);
    }
}

static void on_wake(uv_async_t *async)
{
    struct api_loop *loop = async->data;
    loop->options.on_wake(loop->options.arg);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct api_loop *loop = handle->data;
    loop->options.on_signal(loop->options.arg, number);
}

enum tpc_rc api_loop_new(const struct api_loop_options *options, struct api_loop **ret_loop,
                         struct tpc_err *reterr)
{
    (void)uv_replace_allocator(tpc_must_malloc, tpc_must_realloc, tpc_must_calloc, free);
    struct api_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL || (loop->uv = uv_default_loop()) == NULL) {
        free(loop);
        return tpc_fail(reterr, TPC_ENOMEM, "out of memory");
    }
    loop->options = *options;
    int rc = uv_async_init(loop->uv, &loop->wake, on_wake);
    if (rc != 0) {
        free(loop);
        return tpc_fail(reterr, TPC_EIO, "no event loop: %s", uv_strerror(rc));
    }
    uv_timer_init(loop->uv, &loop->tick);
    uv_prepare_init(loop->uv, &loop->prepare);
    uv_signal_init(loop->uv, &loop->sigterm);
    uv_signal_init(loop->uv, &loop->sigint);
    loop->tick.data = loop->prepare.data = loop->wake.data = loop;
    loop->sigterm.data = loop->sigint.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_signal_start(&loop->sigterm, on_signal, SIGTERM);
    uv_signal_start(&loop->sigint, on_signal, SIGINT);
    (void)signal(SIGPIPE, SIG_IGN);
    *ret_loop = loop;
    return TPC_OK;
}

struct uv_loop_s *api_loop_uv(struct api_loop *loop)
{
    return loop->uv;
}

void api_loop_run(struct api_loop *loop)
{
    uv_run(loop->uv, UV_RUN_DEFAULT);
    uv_signal_stop(&loop->sigterm);
    uv_signal_stop(&loop->sigint);
}

void api_loop_stop(struct api_loop *loop)
{
    uv_stop(loop->uv);
}

void api_loop_wake(struct api_loop *loop)
{
    uv_async_send(&loop->wake);
}

static void *run_work(void *arg)
{
    struct api_loop *loop = arg;
    loop->on_work(loop->work_arg);
    uv_async_send(&loop->worked);
    return NULL;
}

static void on_worked(uv_async_t *async)
{
    struct api_loop *loop = async->data;
    (void)pthread_join(loop->worker, NULL);
    uv_close((uv_handle_t *)async, NULL);
    loop->on_worked(loop->work_arg);
}

enum tpc_rc api_loop_work(struct api_loop *loop, void (*work)(void *arg), void (*done)(void *arg),
                          void *arg, struct tpc_err *reterr)
{
    loop->on_work = work;
    loop->on_worked = done;
    loop->work_arg = arg;
    int rc = uv_async_init(loop->uv, &loop->worked, on_worked);
    if (rc != 0) {
        return tpc_fail(reterr, TPC_EIO, "no event loop: %s", uv_strerror(rc));
    }
    loop->worked.data = loop;
    rc = pthread_create(&loop->worker, NULL, run_work, loop);
    if (rc != 0) {
        uv_close((uv_handle_t *)&loop->worked, NULL);
        return tpc_fail(reterr, TPC_ENOMEM, "no thread: %s", strerror(rc));
    }
    return TPC_OK;
}

void api_loop_free(struct api_loop *loop)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&loop->tick, (uv_handle_t *)&loop->prepare,
                              (uv_handle_t *)&loop->wake, (uv_handle_t *)&loop->sigterm,
                              (uv_handle_t *)&loop->sigint};
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++) {
        uv_close(handles[i], NULL);
    }
    uv_run(loop->uv, UV_RUN_DEFAULT);
    uv_loop_close(loop->uv);
    free(loop);
}

/* ---- Descriptors of other libraries ---- */

struct api_poll {
    uv_poll_t uv;
    void (*on_ready)(void *arg, unsigned events);
    void *arg;
    unsigned wanted;
};

static void on_ready(uv_poll_t *handle, int status, int events)
{
    struct api_poll *poll = handle->data;
    unsigned ready = status < 0 ? API_POLL_READ | API_POLL_WRITE
                                : ((events & UV_READABLE) != 0 ? API_POLL_READ : 0u) |
                                      ((events & UV_WRITABLE) != 0 ? API_POLL_WRITE : 0u);
    poll->on_ready(poll->arg, ready);
}

enum tpc_rc api_poll_new(struct api_loop *loop, int fd, void (*ready)(void *arg, unsigned events),
                         void *arg, struct api_poll **ret_poll, struct tpc_err *reterr)
{
    struct api_poll *poll = calloc(1, sizeof *poll);
    if (poll == NULL) {
        return tpc_fail(reterr, TPC_ENOMEM, "out of memory");
    }
    int rc = uv_poll_init(loop->uv, &poll->uv, fd);
    if (rc != 0) {
        free(poll);
        return tpc_fail(reterr, TPC_EIO, "a descriptor cannot be watched: %s", uv_strerror(rc));
    }
    poll->uv.data = poll;
    poll->on_ready = ready;
    poll->arg = arg;
    *ret_poll = poll;
    return TPC_OK;
}

void api_poll_want(struct api_poll *poll, unsigned events)
{
    if (events == poll->wanted) {
        return;
    }
    poll->wanted = events;
    if (events == 0) {
        uv_poll_stop(&poll->uv);
    } else {
        uv_poll_start(&poll->uv,
                      ((events & API_POLL_READ) != 0 ? UV_READABLE : 0) |
                          ((events & API_POLL_WRITE) != 0 ? UV_WRITABLE : 0),
                      on_ready);
    }
}

static void on_poll_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void api_poll_free(struct api_poll *poll)
{
    uv_close((uv_handle_t *)&poll->uv, on_poll_closed);
}
