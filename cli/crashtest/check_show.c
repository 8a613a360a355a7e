#include "cli/crashtest/check_show.h"

#include "cli/out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void show_table(const struct cli_history *history, const struct cli_findings *findings)
{
    static const char *const names[] = {"FOUND", "TIMES", "VERDICT", "IS"};
    struct cli_table table;
    for (size_t i = 0; i < findings->item_count; i++) {
        if (cli_anomaly_forbidden(findings->items[i].anomaly)) {
            printf("%s: %s\n", cli_anomaly_name(findings->items[i].anomaly),
                   findings->items[i].text);
        }
    }
    cli_table_begin(&table, 4, names);
    for (unsigned i = 0; i < CLI_ANOMALY_COUNT; i++) {
        enum cli_anomaly anomaly = (enum cli_anomaly)i;
        if (findings->counts[i] > 0) {
            cli_table_add(&table, cli_anomaly_name(anomaly));
            cli_table_addf(&table, "%llu", (unsigned long long)findings->counts[i]);
            cli_table_add(&table, cli_anomaly_forbidden(anomaly) ? "must not be" : "not promised");
            cli_table_add(&table, cli_anomaly_text(anomaly));
        }
    }
    if (table.cells > table.columns) {
        cli_table_print(&table);
    }
    cli_table_done(&table);
    printf("%zu transactions: %zu committed, %zu aborted, %zu not started, %zu unknown: %s\n",
           history->count, cli_history_told(history, CLI_TOLD_COMMITTED),
           cli_history_told(history, CLI_TOLD_ABORTED),
           cli_history_told(history, CLI_TOLD_NOT_STARTED),
           cli_history_told(history, CLI_TOLD_UNKNOWN),
           cli_findings_forbidden(findings) == 0 ? "as promised" : "NOT as promised");
}

static void write_told(struct tpc_buf *out, const struct cli_history *history)
{
    api_jw_key(out, "transactions");
    api_jw_u64(out, history->count);
    api_jw_key(out, "told");
    api_jw_open(out, '{');
    for (unsigned i = 0; i < CLI_TOLD_COUNT; i++) {
        api_jw_key(out, cli_told_name((enum cli_told)i));
        api_jw_u64(out, cli_history_told(history, (enum cli_told)i));
    }
    api_jw_close(out, '}');
}

static void write_found(struct tpc_buf *out, const struct cli_findings *findings)
{
    api_jw_key(out, "found");
    api_jw_open(out, '[');
    for (unsigned i = 0; i < CLI_ANOMALY_COUNT; i++) {
        if (findings->counts[i] == 0) {
            continue;
        }
        api_jw_open(out, '{');
        api_jw_key(out, "name");
        api_jw_str(out, cli_anomaly_name((enum cli_anomaly)i));
        api_jw_key(out, "times");
        api_jw_u64(out, findings->counts[i]);
        api_jw_key(out, "promised");
        api_jw_bool(out, cli_anomaly_forbidden((enum cli_anomaly)i));
        api_jw_key(out, "words");
        api_jw_open(out, '[');
        for (size_t j = 0; j < findings->item_count; j++) {
            if (findings->items[j].anomaly == (enum cli_anomaly)i) {
                api_jw_str(out, findings->items[j].text);
            }
        }
        api_jw_close(out, ']');
        api_jw_close(out, '}');
    }
    api_jw_close(out, ']');
}

static void show_json(const struct cli_history *history, const struct cli_findings *findings,
                      enum cli_format format)
{
    struct tpc_buf text = {0};
    struct api_json *document = NULL;
    api_jw_open(&text, '{');
    api_jw_key(&text, "as_promised");
    api_jw_bool(&text, cli_findings_forbidden(findings) == 0);
    write_told(&text, history);
    write_found(&text, findings);
    api_jw_close(&text, '}');
    if (!text.failed && api_json_parse(text.data, text.size, &document, NULL) == TPC_OK) {
        cli_print_json(format, document);
    }
    api_json_free(document);
    tpc_buf_done(&text);
}

void cli_findings_show(const struct cli_history *history, const struct cli_findings *findings,
                       enum cli_format format)
{
    if (format == CLI_TABLE) {
        show_table(history, findings);
    } else {
        show_json(history, findings, format);
    }
}

enum cli_exit cli_crashtest_check(const char *path, enum cli_format format)
{
    struct cli_history history;
    struct cli_findings findings = {0};
    struct tpc_err err = {0};
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        fprintf(stderr, "assent crashtest: %s: %s\n", path, strerror(errno));
        return CLI_ERROR;
    }
    enum tpc_rc rc = cli_history_read(file, &history, &err);
    fclose(file);
    if (rc != TPC_OK) {
        fprintf(stderr, "assent crashtest: %s: %s\n", path, err.text);
        return CLI_ERROR;
    }
    cli_check_history(&history, &findings);
    cli_findings_show(&history, &findings, format);
    enum cli_exit result = cli_findings_forbidden(&findings) == 0 ? CLI_OK : CLI_ERROR;
    cli_findings_done(&findings);
    cli_history_done(&history);
    return result;
}
