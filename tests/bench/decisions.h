/* A file of decisions, one forced write for all that wait: the least a coordinator must keep. */
#ifndef ASSENT_TESTS_BENCH_DECISIONS_H
#define ASSENT_TESTS_BENCH_DECISIONS_H

#include <stdint.h>

/* Start the thread that writes to @path. Whenever decisions became durable, the returned
 * descriptor (an eventfd) is readable. */
int decisions_open(const char *path, unsigned waiting_max);
/* Append the decision for @number, of which @client is to hear. */
void decisions_add(uint64_t number, unsigned client);
/* The clients whose decisions have become durable since the last call. */
unsigned decisions_take(unsigned *ret_clients);
/* Forced writes so far. */
uint64_t decisions_close(void);

#endif
