/* JSON: what is read is printed so that it reads back the same. */
#include "tests/fuzz/fuzz.h"

#include "api/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct api_json *root = NULL, *again = NULL;
    struct tpc_err err = {0};
    enum tpc_rc rc = api_json_parse((const char *)data, size, &root, &err);
    if (rc != TPC_OK) {
        TPC_ASSERT(rc == TPC_ESYNTAX && err.rc == rc && err.text[0] != '\0');
        return 0;
    }
    struct tpc_buf first = {0}, second = {0};
    api_json_print(&first, root);
    TPC_ASSERT(api_json_parse(first.data, first.size, &again, &err) == TPC_OK);
    api_json_print(&second, again);
    TPC_ASSERT(fuzz_same(first.data, first.size, second.data, second.size));
    tpc_buf_done(&first);
    tpc_buf_done(&second);
    api_json_free(root);
    api_json_free(again);
    return 0;
}
