/* A table of options of every type, for the tests of the settings. */
#ifndef ASSENT_TESTS_UNIT_BASE_SETTINGS_H
#define ASSENT_TESTS_UNIT_BASE_SETTINGS_H

#include "base/config.h"

struct settings {
    char *listen;
    char *admin_listen;
    char *password;
    uint64_t lanes;
    uint64_t timeout_ms;
    uint64_t body_bytes;
    bool sync;
    bool verbose;
    struct tpc_list participants;
    char *failpoints;
    char *output;
};

static const struct tpc_opt options[] = {
    {.name = "listen",
     .type = TPC_OPT_STRING,
     .offset = offsetof(struct settings, listen),
     .default_text = "127.0.0.1:7400",
     .argument = "ADDR",
     .help = "where to listen"},
    {.name = "admin-listen",
     .type = TPC_OPT_STRING,
     .offset = offsetof(struct settings, admin_listen),
     .argument = "ADDR",
     .help = "a second listener, for health and metrics, so that these still answer when the main "
             "one is full"},
    {.name = "password",
     .type = TPC_OPT_STRING,
     .offset = offsetof(struct settings, password),
     .secret = true},
    {.name = "lanes",
     .type = TPC_OPT_UINT,
     .offset = offsetof(struct settings, lanes),
     .default_text = "4",
     .min = 1,
     .max = 64},
    {.name = "timeout",
     .type = TPC_OPT_DURATION,
     .offset = offsetof(struct settings, timeout_ms),
     .default_text = "10s",
     .min = 10},
    {.name = "max-body",
     .type = TPC_OPT_SIZE,
     .offset = offsetof(struct settings, body_bytes),
     .default_text = "4M",
     .argument = "BYTES"},
    {.name = "sync",
     .type = TPC_OPT_BOOL,
     .offset = offsetof(struct settings, sync),
     .default_text = "true",
     .help = "force the log"},
    {.name = "verbose",
     .type = TPC_OPT_BOOL,
     .offset = offsetof(struct settings, verbose),
     .default_text = "false",
     .help = "say more",
     .letter = 'v'},
    {.name = "participant",
     .type = TPC_OPT_LIST,
     .offset = offsetof(struct settings, participants),
     .argument = "NAME=URL",
     .help = "a participant",
     .yaml_name = "participants"},
    {.name = "failpoints", .type = TPC_OPT_STRING, .offset = offsetof(struct settings, failpoints)},
    {.name = "output",
     .type = TPC_OPT_STRING,
     .offset = offsetof(struct settings, output),
     .letter = 'o'},
    {0},
};

#endif
