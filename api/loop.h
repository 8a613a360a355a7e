/* The frame of a daemon's event loop (libuv): timers, waking from other threads, signals, and the
 * moment before it sleeps, in which what has gathered leaves in batches. */
#ifndef ASSENT_API_LOOP_H
#define ASSENT_API_LOOP_H

#include "base/timers.h"

struct uv_loop_s;
struct api_loop;

struct api_loop_options {
    void *arg;                 /* handed to the callbacks, which all run on the loop's thread */
    struct tpc_timers *timers; /* the caller's; run when they are due */
    /* Before the loop sleeps. Returns when it must look again at the latest (tpc_clock_mono_ms),
     * beside the timers; UINT64_MAX: whenever something happens. */
    uint64_t (*before_sleep)(void *arg);
    void (*on_wake)(void *arg);               /* some time after one api_loop_wake or more */
    void (*on_signal)(void *arg, int number); /* SIGTERM, SIGINT */
};

/* The process has one. SIGPIPE is ignored from here on. */
TPC_NODISCARD enum tpc_rc api_loop_new(const struct api_loop_options *options,
                                       struct api_loop **ret_loop, struct tpc_err *reterr);
struct uv_loop_s *api_loop_uv(struct api_loop *loop);
/* Until api_loop_stop. From then on a signal ends the process by itself, so that one that hangs
 * while it stops can be ended. */
void api_loop_run(struct api_loop *loop);
void api_loop_stop(struct api_loop *loop); /* from a callback */
void api_loop_wake(struct api_loop *loop); /* from any thread */
/* Run @work on a thread of its own, then @done on the loop's. At most one at a time. */
TPC_NODISCARD enum tpc_rc api_loop_work(struct api_loop *loop, void (*work)(void *arg),
                                        void (*done)(void *arg), void *arg, struct tpc_err *reterr);
/* Lets what is closing or working end, then frees. */
void api_loop_free(struct api_loop *loop);

/* ---- Descriptors of other libraries ---- */

enum { API_POLL_READ = 1, API_POLL_WRITE = 2 };

struct api_poll;

/* Watch @fd, which is non-blocking, stays the caller's, and stays open until api_poll_free. Nothing
 * is wanted at first. @on_ready gets what it is ready for; a broken one is ready for all. */
TPC_NODISCARD enum tpc_rc api_poll_new(struct api_loop *loop, int fd,
                                       void (*on_ready)(void *arg, unsigned events), void *arg,
                                       struct api_poll **ret_poll, struct tpc_err *reterr);
void api_poll_want(struct api_poll *poll, unsigned events); /* API_POLL_…; 0: nothing */
void api_poll_free(struct api_poll *poll); /* also from its callback, which is the last then */

#endif
