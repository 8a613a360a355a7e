#include "cli/crashtest/check.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *text;
    bool forbidden;
} anomalies[CLI_ANOMALY_COUNT] = {
#define CLI_ANOMALY_ENTRY(id, name, text, forbidden) [id] = {name, text, forbidden},
    CLI_ANOMALY_LIST(CLI_ANOMALY_ENTRY)
#undef CLI_ANOMALY_ENTRY
};

const char *cli_anomaly_name(enum cli_anomaly anomaly)
{
    return anomalies[anomaly].name;
}

const char *cli_anomaly_text(enum cli_anomaly anomaly)
{
    return anomalies[anomaly].text;
}

bool cli_anomaly_forbidden(enum cli_anomaly anomaly)
{
    return anomalies[anomaly].forbidden;
}

void cli_find(struct cli_findings *findings, enum cli_anomaly anomaly, const char *format, ...)
{
    struct tpc_buf text = {0};
    va_list args;
    if (findings->counts[anomaly]++ >= CLI_FINDINGS_KEPT) {
        return;
    }
    va_start(args, format);
    tpc_buf_vaddf(&text, format, args);
    va_end(args);
    findings->items =
        tpc_must_realloc(findings->items, (findings->item_count + 1) * sizeof(*findings->items));
    findings->items[findings->item_count++] =
        (struct cli_finding){.anomaly = anomaly, .text = tpc_buf_take(&text)};
}

uint64_t cli_findings_forbidden(const struct cli_findings *findings)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < CLI_ANOMALY_COUNT; i++) {
        count += anomalies[i].forbidden ? findings->counts[i] : 0;
    }
    return count;
}

void cli_findings_done(struct cli_findings *findings)
{
    for (size_t i = 0; i < findings->item_count; i++) {
        free(findings->items[i].text);
    }
    free(findings->items);
    *findings = (struct cli_findings){0};
}

void cli_check_history(const struct cli_history *history, struct cli_findings *findings)
{
    cli_check_answers(history, findings);
    cli_check_bank(history, findings);
    cli_check_lists(history, findings);
    cli_check_cycles(history, findings);
}
