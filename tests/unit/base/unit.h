/* What every cmocka file includes first, and in this order. */
#ifndef ASSENT_TESTS_UNIT_BASE_UNIT_H
#define ASSENT_TESTS_UNIT_BASE_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
