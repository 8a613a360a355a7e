/* assent: submit, watch, inspect and repair transactions. */
#include "cli/args.h"

#include <errno.h>
#include <signal.h>

static const struct cli_command *const commands[] = {
    &cli_submit,
    &cli_tx_ls,
    &cli_tx_show,
    &cli_tx_wait,
    &cli_tx_abort,
    &cli_tx_forget,
    &cli_agent_ls,
    &cli_agent_show,
    &cli_agent_doctor,
    &cli_branch_ls,
    &cli_branch_resolve,
    &cli_branch_forget,
    &cli_check,
    &cli_demo,
    &cli_bench,
    &cli_crashtest,
    NULL,
};

int main(int argc, char **argv)
{
    struct cli_call call;
    signal(SIGPIPE, SIG_IGN);
    enum cli_exit result = cli_args_parse(commands, argc, argv, &call);
    if (result != CLI_OK) {
        return result;
    }
    if (call.help) {
        cli_args_help(commands, &call, stdout);
    } else if (call.version) {
        puts("assent " ASSENT_VERSION);
    } else {
        result = call.command->run(&call);
    }
    /* Output that did not arrive, on a full disk say, must not look like success. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        if (errno != EPIPE) { /* `| head` has read enough */
            perror("assent: cannot write");
        }
        return CLI_ERROR;
    }
    return result;
}
