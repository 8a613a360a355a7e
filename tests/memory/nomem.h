/* A preloaded library that lets the N-th allocation of a process fail. The test and the process
 * share this page, in the file that NOMEM_CONTROL names: without it the library does nothing. */
#ifndef ASSENT_TESTS_MEMORY_NOMEM_H
#define ASSENT_TESTS_MEMORY_NOMEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct nomem_control {
    _Atomic bool armed;       /* allocations count, and fail, only while it is set */
    _Atomic uint64_t fail_at; /* 1: the next one; 0: none */
    _Atomic bool sticky;      /* all after it fail as well */
    _Atomic uint64_t seen;    /* allocations since it was armed */
    _Atomic uint64_t failed;  /* of these */
};

#endif
