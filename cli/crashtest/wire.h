/* HTTP/1.1 as far as a proxy needs it: where a message ends, and what it is (pure). */
#ifndef ASSENT_CLI_CRASHTEST_WIRE_H
#define ASSENT_CLI_CRASHTEST_WIRE_H

#include "base/rc.h"

#include <stddef.h>

/* Their names. The first three travel in batches; a request without an Idempotency-Key is no submit
 * but a post, of which two are two transactions. */
#define CLI_MESSAGE_LIST(X)                                                                        \
    X(CLI_MESSAGE_PREPARE, "prepare")                                                              \
    X(CLI_MESSAGE_COMMIT, "commit")                                                                \
    X(CLI_MESSAGE_ABORT, "abort")                                                                  \
    X(CLI_MESSAGE_INQUIRY, "inquiry")                                                              \
    X(CLI_MESSAGE_SUBMIT, "submit")                                                                \
    X(CLI_MESSAGE_POST, "post")                                                                    \
    X(CLI_MESSAGE_ASK, "ask")                                                                      \
    X(CLI_MESSAGE_PROBE, "probe")                                                                  \
    X(CLI_MESSAGE_OTHER, "other")

enum cli_message {
#define CLI_MESSAGE_ENUM(id, name) id,
    CLI_MESSAGE_LIST(CLI_MESSAGE_ENUM)
#undef CLI_MESSAGE_ENUM
        CLI_MESSAGE_COUNT
};
const char *cli_message_name(enum cli_message message);
/* CLI_MESSAGE_COUNT: there is none of this name. */
enum cli_message cli_message_parse(const char *name, size_t size);

enum cli_whole { CLI_PART, CLI_WHOLE, CLI_MALFORMED };
/* Is a request (or an answer, when @answer) at @data whole? With CLI_WHOLE @ret_size is its size.
 * An answer that only ends with its connection never is. */
enum cli_whole cli_wire_whole(const char *data, size_t size, bool answer, size_t *ret_size);

/* How many messages of each kind a whole request carries. */
void cli_wire_count(const char *data, size_t size, unsigned ret_counts[CLI_MESSAGE_COUNT]);

#endif
