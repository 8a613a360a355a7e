#include "participant/proofs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { COUNT = 3000 };

/* Many share a place in the table, so that they stand in each other's way. */
static struct tpc_id id_of(unsigned n)
{
    struct tpc_id id = {{1}};
    unsigned low = n % 7;
    memcpy(id.bytes + 2, &n, sizeof n);
    memcpy(id.bytes + 8, &low, sizeof low);
    return id;
}

static void test_proofs__are_found_whatever_was_added_and_removed(void **state)
{
    struct part_proofs proofs = {0};
    (void)state;
    for (unsigned n = 0; n < COUNT; n++) {
        struct tpc_id id = id_of(n);
        assert_null(part_proofs_find(&proofs, &id));
        part_proofs_get(&proofs, &id)->number = n + 1;
    }
    for (unsigned n = 0; n < COUNT; n += 3) {
        struct tpc_id id = id_of(n);
        part_proofs_remove(&proofs, &id);
        part_proofs_remove(&proofs, &id);
    }
    assert_int_equal(proofs.count, COUNT - COUNT / 3);
    for (unsigned n = 0; n < COUNT; n++) {
        struct tpc_id id = id_of(n);
        const struct part_proof *proof = part_proofs_find(&proofs, &id);
        if (n % 3 == 0) {
            assert_null(proof);
        } else {
            assert_int_equal(proof->number, n + 1);
            assert_ptr_equal(part_proofs_get(&proofs, &id), proof);
        }
    }
    part_proofs_done(&proofs);
    assert_int_equal(proofs.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proofs__are_found_whatever_was_added_and_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
