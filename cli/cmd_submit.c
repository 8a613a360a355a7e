#include "base/id.h"
#include "cli/args.h"
#include "cli/out.h"
#include "cli/remote.h"
#include "cli/txn_view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX ((size_t)64 << 20)

enum { SUBMIT_KEY, SUBMIT_WAIT, SUBMIT_ASYNC };

static enum cli_exit read_all(const char *name, struct tpc_buf *out)
{
    FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
    if (file == NULL) {
        fprintf(stderr, "assent: cannot open %s: %s\n", name, strerror(errno));
        return CLI_ERROR;
    }
    size_t got = 1;
    errno = 0;
    while (got > 0 && out->size <= FILE_MAX) {
        char *room = tpc_buf_reserve(out, 65536);
        got = room != NULL ? fread(room, 1, 65536, file) : 0;
        out->size += got;
    }
    bool failed = ferror(file) != 0;
    if (failed) {
        fprintf(stderr, "assent: cannot read %s: %s\n", name, strerror(errno));
    } else if (out->failed || out->size > FILE_MAX) {
        fprintf(stderr, "assent: %s is larger than %zu MiB\n",
                strcmp(name, "-") == 0 ? "stdin" : name, FILE_MAX >> 20);
        failed = true;
    }
    if (file != stdin) {
        fclose(file);
    }
    return failed ? CLI_ERROR : CLI_OK;
}

/* The document was read; what came of it? */
static enum cli_exit judge(const struct cli_call *call, const struct cli_peer *peer, int status,
                           const struct api_json *answer)
{
    if (status != 200 && status != 201 && status != 202 && status != 409 &&
        !cli_txn_has_hazard(answer)) {
        return cli_complain_problem(peer, status, answer);
    }
    if (status == 409 && cli_json_text(answer, "id")[0] == '\0') {
        return cli_complain_problem(peer, status, answer);
    }
    cli_print_txn(call, answer);
    if (status == 202) {
        if (call->values[SUBMIT_ASYNC] == NULL) {
            fprintf(stderr, "assent: not ended yet; see: assent tx wait %s\n",
                    cli_json_text(answer, "id"));
            return CLI_IN_DOUBT;
        }
        return CLI_OK;
    }
    if (status == 409) {
        return CLI_ABORTED;
    }
    return cli_txn_has_hazard(answer) ? CLI_IN_DOUBT : CLI_OK;
}

static enum cli_exit send_document(struct cli_remote *remote, const struct cli_request *request,
                                   const char *key)
{
    struct cli_peer peer = cli_coordinator(remote);
    struct api_json *answer = NULL;
    int status = 0;
    bool sent = false;
    enum cli_exit result = cli_remote_send(remote, &peer, request, &status, &answer, &sent, false);
    if (result == CLI_UNREACHABLE && sent) {
        fprintf(stderr,
                "The outcome is not known. The same with --key %s tells it, and never does it "
                "twice.\n",
                key);
    }
    if (result == CLI_OK) {
        result = judge(remote->call, &peer, status, answer);
    }
    api_json_free(answer);
    return result;
}

static bool is_key(const char *key)
{
    size_t length = strlen(key);
    for (const unsigned char *c = (const unsigned char *)key; *c != '\0'; c++) {
        if (*c < 0x20 || *c > 0x7e || *c == '"' || *c == '\\') {
            return false;
        }
    }
    return length > 0 && length <= 255;
}

static enum cli_exit run(const struct cli_call *call)
{
    char random_key[TPC_ID_TEXT], key_header[320], prefer[64] = "";
    const char *key = call->values[SUBMIT_KEY];
    unsigned long wait_ms = 0;
    if (key == NULL) {
        /* So that an answer lost on the way can still be asked for. */
        struct tpc_id id;
        tpc_id_random(&id);
        key = tpc_id_format(&id, random_key);
    } else if (!is_key(key)) {
        fputs("assent: a key is 1 to 255 printable ASCII characters without \" and \\\n", stderr);
        return CLI_USAGE;
    }
    snprintf(key_header, sizeof(key_header), "Idempotency-Key: \"%s\"", key);
    if (call->values[SUBMIT_ASYNC] != NULL) {
        snprintf(prefer, sizeof(prefer), "Prefer: respond-async");
    } else if (call->values[SUBMIT_WAIT] != NULL) {
        if (!cli_args_duration("wait", call->values[SUBMIT_WAIT], &wait_ms)) {
            return CLI_USAGE;
        }
        snprintf(prefer, sizeof(prefer), "Prefer: wait=%lu", (wait_ms + 999) / 1000);
    }

    struct tpc_buf body = {0};
    struct cli_remote remote;
    enum cli_exit result = read_all(call->words[0], &body);
    if (result == CLI_OK) {
        result = cli_remote_init(&remote, call);
    }
    if (result == CLI_OK) {
        struct cli_request request = {.method = "POST",
                                      .url = "/v1/transactions",
                                      .headers = {key_header, prefer[0] != '\0' ? prefer : NULL},
                                      .body = body.data != NULL ? body.data : "",
                                      .body_size = body.size,
                                      /* An hour is the longest time-out of a transaction. */
                                      .timeout_ms = 3700000UL};
        result = send_document(&remote, &request, key);
        cli_remote_done(&remote);
    }
    tpc_buf_done(&body);
    return result;
}

static const struct cli_flag flags[] = {
    [SUBMIT_KEY] = {"key", "KEY", "idempotency key: at most one commit for it, ever", 0},
    [SUBMIT_WAIT] = {"wait", "TIME", "answer after this time, ended or not", 0},
    [SUBMIT_ASYNC] = {"async", NULL, "do not wait; status 0 means taken on", 0},
    {NULL, NULL, NULL, 0},
};

const struct cli_command cli_submit = {
    .name = "submit",
    .words = "FILE|-",
    .words_min = 1,
    .words_max = 1,
    .summary = "submit a transaction, print its outcome",
    .detail = "FILE holds the JSON document of POST /v1/transactions; - reads it from stdin:\n"
              "\n"
              "  {\"branches\": [\n"
              "    {\"participant\": \"east\", \"statements\": [{\"sql\": \"UPDATE …\"}]},\n"
              "    {\"participant\": \"west\", \"statements\": [{\"sql\": \"UPDATE …\"}]}]}\n"
              "\n"
              "Ends with 0 when it committed, 3 when it aborted, 4 when it had not ended or a\n"
              "branch ended another way than the decision. When the answer is lost on the way,\n"
              "the same command with the --key that is shown then tells the outcome.\n",
    .flags = flags,
    .run = run,
};
