/* Assertions that stay on in production: a coordinator that has lost track of its own state must
 * stop, because recovery from the log is always right. */
#ifndef ASSENT_BASE_TPC_ASSERT_H
#define ASSENT_BASE_TPC_ASSERT_H

/* Prints the place on stderr and aborts. The only symbol, with memory functions, that a pure
 * object may import. */
_Noreturn void tpc_assert_fail(const char *expression, const char *file, int line,
                               const char *function);

#define TPC_ASSERT(expression)                                                                     \
    ((expression) ? (void)0 : tpc_assert_fail(#expression, __FILE__, __LINE__, __func__))

#define TPC_BIT(n) (UINT64_C(1) << (n))

#endif
