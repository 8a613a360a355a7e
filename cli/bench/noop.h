/* A participant that votes yes and keeps nothing: what is measured with it is the coordinator. */
#ifndef ASSENT_CLI_BENCH_NOOP_H
#define ASSENT_CLI_BENCH_NOOP_H

#include "base/rc.h"

/* Serve at @listen ("127.0.0.1:0") until SIGTERM or SIGINT, and say `evt=daemon.ready url=…` on
 * stderr. Any number of participants are below it, each at a path of its own: URL/NAME. */
TPC_NODISCARD enum tpc_rc cli_noop_serve(const char *listen, struct tpc_err *reterr);

#endif
