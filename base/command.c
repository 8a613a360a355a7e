#include "base/command.h"

#include "base/failpoint.h"
#include "base/log.h"

#include <malloc.h>
#include <stdio.h>

/* Bytes. A daemon under load needs again what it has freed: the C library is not to give it back to
 * the kernel, zeroed page by page, at every pause. */
enum { KEEP_FREE = 64 << 20, GROW_BY = 1 << 20, MAP_FROM = 16 << 20 };

static int usage(const struct tpc_command *command, const char *what)
{
    (void)fprintf(stderr, "%s: %s; see %s --help\n", command->name, what, command->name);
    return TPC_EXIT_USAGE;
}

static int unexpected(const struct tpc_command *command, const char *word)
{
    (void)fprintf(stderr, "%s: unexpected \"%s\"; see %s --help\n", command->name, word,
                  command->name);
    return TPC_EXIT_USAGE;
}

static enum tpc_rc setup(const struct tpc_command *command, struct tpc_err *reterr)
{
    const struct tpc_common_settings *common = command->common;
    enum tpc_log_level level = TPC_LOG_INFO;
    enum tpc_log_format format = TPC_LOG_LOGFMT;
    if (!tpc_log_parse_level(common->log_level, &level)) {
        return tpc_fail(reterr, TPC_EINVAL, "--log-level %s: use debug, info, warn or error",
                        common->log_level);
    }
    if (!tpc_log_parse_format(common->log_format, &format)) {
        return tpc_fail(reterr, TPC_EINVAL, "--log-format %s: use logfmt or json",
                        common->log_format);
    }
    enum tpc_rc rc = command->check(command->settings, reterr);
    if (rc != TPC_OK) {
        return rc;
    }
    (void)mallopt(M_ARENA_MAX, 1); /* those of threads grow by a system call for each page */
    (void)mallopt(M_TRIM_THRESHOLD, KEEP_FREE);
    (void)mallopt(M_TOP_PAD, GROW_BY);
    (void)mallopt(M_MMAP_THRESHOLD, MAP_FROM);
    tpc_log_setup(level, format);
    return common->failpoints != NULL ? tpc_fp_arm(common->failpoints, reterr) : TPC_OK;
}

static int carry_out(const struct tpc_command *command, const struct tpc_config_result *result)
{
    struct tpc_err err = {0};
    int words = command->missing != NULL ? 1 : 0;
    if (result->help) {
        tpc_config_help(command->options, command->usage, stdout);
    } else if (result->version) {
        (void)printf("%s %s\n", command->name, ASSENT_VERSION);
    } else if (result->list_failpoints) {
        tpc_fp_list();
    } else if (result->print_config) {
        tpc_config_print(command->options, command->settings, stdout);
    } else if (result->positional_count < words) {
        return usage(command, command->missing);
    } else if (result->positional_count > words) {
        return unexpected(command, result->positional[words]);
    } else if (setup(command, &err) != TPC_OK) {
        return usage(command, err.text);
    } else if (result->check_config) {
        (void)printf("the configuration is good\n");
    } else {
        return command->run(command->settings, words == 1 ? result->positional[0] : NULL);
    }
    return 0;
}

int tpc_command_main(const struct tpc_command *command, int argc, char **argv)
{
    struct tpc_config_result result = {0};
    struct tpc_err err = {0};
    int status = TPC_EXIT_USAGE;
    if (tpc_config_load(command->options, command->settings, argc, argv, &result, &err) == TPC_OK) {
        status = carry_out(command, &result);
    } else {
        (void)fprintf(stderr, "%s: %s\n", command->name, err.text);
    }
    tpc_config_done(command->options, command->settings);
    tpc_config_result_done(&result);
    return status;
}
