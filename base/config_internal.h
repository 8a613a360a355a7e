/* Between the config_*.c files. */
#ifndef ASSENT_BASE_CONFIG_INTERNAL_H
#define ASSENT_BASE_CONFIG_INTERNAL_H

#include "base/buf.h"
#include "base/config.h"

/* The values (config_value.c). */

/* Set the member of @option from @text; a list grows by one item. An error begins with @place. */
TPC_NODISCARD enum tpc_rc tpc_config_set(const struct tpc_opt *option, void *settings,
                                         const char *text, const char *place,
                                         struct tpc_err *reterr);
/* Free and zero the member. */
void tpc_config_unset(const struct tpc_opt *option, void *settings);
/* As tpc_config_set would read it; strings and lists are not this function's. */
void tpc_config_format(const struct tpc_opt *option, uint64_t value, struct tpc_buf *out);

const char *tpc_config_string(const struct tpc_opt *option, const void *settings);
uint64_t tpc_config_number(const struct tpc_opt *option, const void *settings); /* also a bool */
const struct tpc_list *tpc_config_list(const struct tpc_opt *option, const void *settings);

/* The file (config_yaml.c). */
TPC_NODISCARD enum tpc_rc tpc_config_load_yaml(const struct tpc_opt *options, void *settings,
                                               const char *path, struct tpc_err *reterr);

#endif
