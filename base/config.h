/* Settings: one table of options, read from flags, environment, a YAML file and defaults, in this
 * order of strength, with one name in three spellings: --admin-listen, ASSENT_ADMIN_LISTEN,
 * `admin-listen:`. Unknown and duplicate keys are errors with line and column. */
#ifndef ASSENT_BASE_CONFIG_H
#define ASSENT_BASE_CONFIG_H

#include "base/buf.h"
#include "base/rc.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum tpc_opt_type {
    TPC_OPT_STRING,   /* char *, heap; NULL when unset */
    TPC_OPT_UINT,     /* uint64_t, within min..max */
    TPC_OPT_DURATION, /* uint64_t milliseconds, "250ms" "10s" "5m" "24h", a bare number is ms */
    TPC_OPT_SIZE,     /* uint64_t bytes, "64k" "4M" "1G" (binary, also KiB MiB GiB) */
    TPC_OPT_BOOL,     /* bool; --flag, --flag=false, --no-flag */
    /* struct tpc_list: a repeated flag; in the environment separated by spaces or commas; in YAML a
     * sequence, or a mapping whose pairs become KEY=VALUE. A stronger source replaces it whole. */
    TPC_OPT_LIST,
};

struct tpc_list {
    char **items;
    size_t count;
};

struct tpc_opt {
    const char *name; /* "admin-listen" */
    enum tpc_opt_type type;
    bool secret;              /* hidden by --print-config (also the password in any URL value) */
    char letter;              /* 'o' for -o; 0: none */
    size_t offset;            /* of the member in the caller's struct */
    const char *default_text; /* as on the command line; NULL: unset, 0 or false */
    const char *argument;     /* "ADDR", for --help */
    const char *help;
    const char *yaml_name; /* "participants": a plural that file and environment take as well */
    uint64_t min, max;     /* for numbers; max 0: no upper bound */
};

struct tpc_config_result {
    int positional_count; /* words that are no flags, in order, pointing into argv */
    const char **positional;
    bool help, version, check_config, print_config, list_failpoints;
};

/* Fill @settings (zeroed by the caller) by @options (ended by name == NULL). Handles --config (or
 * ASSENT_CONFIG), --help, --version, --check-config, --print-config and, where there is an option
 * "failpoints", --list-failpoints by setting flags in @ret_result; with any of help, version and
 * list_failpoints set, values are not checked further. Flags may stand before or after other words;
 * `--` ends them. A variable that is empty is unset, one that is unknown may be another program's.
 * On failure @settings holds nothing and @ret_result is zero.
 * Errors (TPC_EINVAL, TPC_ESYNTAX, TPC_EIO) name the flag, variable or FILE:LINE:COLUMN and what
 * would be right; unknown names suggest the nearest known one. */
TPC_NODISCARD enum tpc_rc tpc_config_load(const struct tpc_opt *options, void *settings, int argc,
                                          char **argv, struct tpc_config_result *ret_result,
                                          struct tpc_err *reterr);
/* Free what @settings holds, and zero it. */
void tpc_config_done(const struct tpc_opt *options, void *settings);
void tpc_config_result_done(struct tpc_config_result *result);

void tpc_config_print(const struct tpc_opt *options, const void *settings, FILE *out); /* YAML */
void tpc_config_help(const struct tpc_opt *options, const char *usage, FILE *out);

/* Append @text to @out with the passwords in it hidden: of a URL's user, and after `password=`. */
void tpc_config_mask(const char *text, struct tpc_buf *out);

/* Whole strings only, digits and a unit; false also when out of range. */
TPC_NODISCARD bool tpc_parse_duration(const char *text, uint64_t *ret_ms);
TPC_NODISCARD bool tpc_parse_size(const char *text, uint64_t *ret_bytes);

#endif
