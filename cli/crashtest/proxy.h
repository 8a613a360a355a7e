/* A proxy between clients, coordinator and participants that does something to one message.
 *
 * Messages are counted by link and kind; the one that is armed is lost, repeated, late or cut, or
 * its receiver is to die with it. Everything else passes as it is: whoever closes a connection is
 * seen to close it at the other end. */
#ifndef ASSENT_CLI_CRASHTEST_PROXY_H
#define ASSENT_CLI_CRASHTEST_PROXY_H

#include "cli/crashtest/wire.h"

#include <stdint.h>

/* name, what happens */
#define CLI_FAULT_LIST(X)                                                                          \
    X(CLI_FAULT_DROP, "drop", "the message is lost")                                               \
    X(CLI_FAULT_DROP_ANSWER, "drop-answer", "its answer is lost")                                  \
    X(CLI_FAULT_REPEAT, "repeat", "it arrives a second time after its answer")                     \
    X(CLI_FAULT_DELAY, "delay", "it arrives when all is over")                                     \
    X(CLI_FAULT_CUT, "cut", "the connection breaks in the middle of it")                           \
    X(CLI_FAULT_CUT_ANSWER, "cut-answer", "the connection breaks in the middle of its answer")     \
    X(CLI_FAULT_KILL_BEFORE, "kill-before", "its receiver dies instead of getting it")             \
    X(CLI_FAULT_KILL_AFTER, "kill-after", "its receiver dies, then its answer arrives")

enum cli_fault {
#define CLI_FAULT_ENUM(id, name, text) id,
    CLI_FAULT_LIST(CLI_FAULT_ENUM)
#undef CLI_FAULT_ENUM
        CLI_FAULT_COUNT
};
const char *cli_fault_name(enum cli_fault fault);
const char *cli_fault_text(enum cli_fault fault);

enum {
    CLI_LINK_CLIENTS,   /* clients to the coordinator */
    CLI_LINK_INQUIRIES, /* participants to the coordinator */
    CLI_LINK_MEMBERS,   /* the coordinator to the first participant; the others follow */
    CLI_LINKS_MAX = CLI_LINK_MEMBERS + 16
};

struct cli_proxy;

struct cli_proxy *cli_proxy_new(void);
void cli_proxy_free(struct cli_proxy *proxy); /* NULL is fine */
/* Listen for @link and pass on to @url ("http://host:port"); @ret_url is where it listens. */
void cli_proxy_add(struct cli_proxy *proxy, unsigned link, const char *url, char *ret_url,
                   size_t size);
/* Do @fault to the request of @link that carries the @number-th (from 1) @kind. Counts begin
 * anew. */
void cli_proxy_arm(struct cli_proxy *proxy, unsigned link, enum cli_message kind, unsigned number,
                   enum cli_fault fault);
bool cli_proxy_fired(struct cli_proxy *proxy);
unsigned cli_proxy_count(struct cli_proxy *proxy, unsigned link, enum cli_message kind);

/* True when the receiver on @ret_link has to be killed now; the message waits until
 * cli_proxy_killed says that it is dead. */
bool cli_proxy_wants_kill(struct cli_proxy *proxy, unsigned *ret_link);
void cli_proxy_killed(struct cli_proxy *proxy);

/* All is over: nothing is armed any more; let the late message arrive, and wait until it has (or
 * cannot). */
void cli_proxy_release(struct cli_proxy *proxy);

#endif
