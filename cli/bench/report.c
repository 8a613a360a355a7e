#include "cli/bench/bench.h"
#include "cli/out.h"

#include <stdio.h>
#include <string.h>

static double per(uint64_t after, uint64_t before, uint64_t count)
{
    return count > 0 && after > before ? (double)(after - before) / (double)count : 0;
}

/* What the difference of the two samples says, of a transaction that ended. */
struct costs {
    uint64_t committed; /* in between, as the coordinator counts */
    uint64_t ended;
    double forced, messages, requests;
    uint64_t attempts_again, retries;
};

static struct costs costs_of(const struct cli_drive_result *result)
{
    const struct cli_sample *before = &result->before, *after = &result->after;
    struct costs costs = {0};
    if (!before->complete || !after->complete) {
        return costs;
    }
    uint64_t messages_before = 0, messages_after = 0;
    for (int op = 0; op < API_OP_COUNT; op++) {
        messages_before += before->messages[op];
        messages_after += after->messages[op];
    }
    costs.committed = after->committed - before->committed;
    costs.ended = costs.committed + after->aborted - before->aborted;
    costs.forced = per(after->forced_writes, before->forced_writes, costs.ended);
    /* Each is answered. */
    costs.messages = 2 * per(messages_after, messages_before, costs.ended);
    costs.requests = per(after->requests, before->requests, costs.ended);
    costs.attempts_again = after->attempts_again - before->attempts_again;
    costs.retries = after->retries - before->retries;
    return costs;
}

/* The participant of that name; -1: none. */
static int member_of(const struct cli_bench *bench, const char *name)
{
    const struct cli_load_options *load = &bench->drive.load;
    for (unsigned i = 0; i < load->member_count; i++) {
        if (strcmp(load->members[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static uint64_t aborts_of(const struct cli_drive_result *result)
{
    uint64_t sum = 0;
    for (int code = 0; code < API_CAUSE_COUNT; code++) {
        sum += result->aborts[code];
    }
    return sum;
}

static const char *cause_name(int code)
{
    return code == API_CAUSE_NONE ? "unknown" : api_cause_name((enum api_cause_code)code);
}

static double quantile_ms(const struct cli_drive_result *result, unsigned permille)
{
    return (double)cli_histogram_quantile(&result->latency, permille) / 1e3;
}

/* ---- For people ---- */

static void print_head(const struct cli_bench *bench, const struct cli_drive_result *result)
{
    const struct cli_drive_plan *plan = &bench->drive;
    printf("%s: %s\n", cli_load_name(plan->load.load), cli_load_what(plan->load.load));
    if (plan->rate > 0) {
        printf("%u a second, at most %u at once", plan->rate, plan->clients);
    } else {
        printf("%u clients", plan->clients);
    }
    printf(", %.0f s after %.0f s of warm-up, %u participants%s\n\n", result->seconds,
           (double)plan->warm_up_us / 1e6, plan->load.member_count,
           plan->load.decided ? ", told when decided" : "");
}

static void print_outcomes(const struct cli_drive_result *result)
{
    const struct {
        const char *name;
        uint64_t count;
    } others[] = {{"refused (503)", result->refused},
                  {"not ended in time (202)", result->late},
                  {"hazards", result->hazards},
                  {"broken off", result->broken},
                  {"never sent", result->unsent}};
    printf("committed   %.0f tx/s\n", (double)result->committed / result->seconds);
    printf("latency     p50 %.2f ms  p95 %.2f ms  p99 %.2f ms  max %.2f ms\n",
           quantile_ms(result, 500), quantile_ms(result, 950), quantile_ms(result, 990),
           (double)result->latency.max_us / 1e3);
    printf("aborted     %llu", (unsigned long long)aborts_of(result));
    const char *before = " (";
    for (int code = 0; code < API_CAUSE_COUNT; code++) {
        if (result->aborts[code] > 0) {
            printf("%s%s %llu", before, cause_name(code), (unsigned long long)result->aborts[code]);
            before = ", ";
        }
    }
    puts(*before == ',' ? ")" : "");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (others[i].count > 0) {
            printf("%s: %llu\n", others[i].name, (unsigned long long)others[i].count);
        }
    }
}

static void print_costs(const struct cli_bench *bench, const struct cli_drive_result *result,
                        const struct costs *costs)
{
    static const char *const columns[] = {"PROCESS", "CPU µs/tx", "CORES", "FORCED/tx"};
    const struct cli_sample_plan *plan = &bench->drive.sample;
    struct cli_table table = {0};
    printf("messages    %.2f a transaction, in %.3f requests\n", costs->messages, costs->requests);
    printf("retries     %llu attempts after conflicts, %llu outcomes told again\n\n",
           (unsigned long long)costs->attempts_again, (unsigned long long)costs->retries);
    cli_table_begin(&table, 4, columns);
    for (unsigned i = 0; i < plan->process_count; i++) {
        const struct cli_sample *before = &result->before, *after = &result->after;
        int member = member_of(bench, plan->processes[i].name);
        cli_table_add(&table, plan->processes[i].name);
        cli_table_addf(&table, "%.1f", per(after->cpu_us[i], before->cpu_us[i], result->finished));
        cli_table_addf(&table, "%.2f",
                       per(after->cpu_us[i], before->cpu_us[i], after->at_us - before->at_us));
        if (strcmp(plan->processes[i].name, "coordinator") == 0) {
            cli_table_addf(&table, "%.3f", costs->forced);
        } else if (member >= 0 && before->member_told[member] && after->member_told[member]) {
            cli_table_addf(
                &table, "%.3f",
                per(after->member_forced[member], before->member_forced[member], costs->ended));
        } else {
            cli_table_add(&table, "");
        }
    }
    cli_table_print(&table);
    cli_table_done(&table);
}

static void print_money(const struct cli_bench_money *money)
{
    if (money->checked && money->kept) {
        printf("\nmoney       %lld before and after%s\n", (long long)money->before,
               money->exact ? ", and at each participant what was told" : "");
    } else if (money->checked) {
        printf("\nMONEY       %lld before, %lld after: %s\n", (long long)money->before,
               (long long)money->after, money->found);
    }
}

/* ---- For programs ---- */

static void key_u64(struct tpc_buf *out, const char *name, uint64_t value)
{
    api_jw_key(out, name);
    api_jw_u64(out, value);
}

static void key_double(struct tpc_buf *out, const char *name, double value)
{
    api_jw_key(out, name);
    api_jw_double(out, value);
}

static void write_head(struct tpc_buf *out, const struct cli_bench *bench,
                       const struct cli_drive_result *result)
{
    const struct cli_drive_plan *plan = &bench->drive;
    api_jw_key(out, "workload");
    api_jw_str(out, cli_load_name(plan->load.load));
    key_u64(out, "clients", plan->clients);
    key_u64(out, "rate", plan->rate);
    api_jw_key(out, "ack");
    api_jw_str(out, plan->load.decided ? "decided" : "applied");
    api_jw_key(out, "participants");
    api_jw_open(out, '[');
    for (unsigned i = 0; i < plan->load.member_count; i++) {
        api_jw_open(out, '{');
        api_jw_key(out, "name");
        api_jw_str(out, plan->load.members[i].name);
        api_jw_key(out, "dialect");
        api_jw_str(out, cli_bench_sql_name(plan->load.members[i].sql));
        api_jw_close(out, '}');
    }
    api_jw_close(out, ']');
    key_double(out, "seconds", result->seconds);
    key_double(out, "warm_up_s", (double)plan->warm_up_us / 1e6);
}

static void write_outcomes(struct tpc_buf *out, const struct cli_drive_result *result)
{
    key_u64(out, "committed", result->committed);
    key_double(out, "committed_per_s",
               result->seconds > 0 ? (double)result->committed / result->seconds : 0);
    api_jw_key(out, "latency_ms");
    api_jw_open(out, '{');
    key_double(out, "mean", cli_histogram_mean(&result->latency) / 1e3);
    key_double(out, "p50", quantile_ms(result, 500));
    key_double(out, "p95", quantile_ms(result, 950));
    key_double(out, "p99", quantile_ms(result, 990));
    key_double(out, "p999", quantile_ms(result, 999));
    key_double(out, "max", (double)result->latency.max_us / 1e3);
    api_jw_close(out, '}');
    key_u64(out, "aborted", aborts_of(result));
    api_jw_key(out, "aborts");
    api_jw_open(out, '{');
    for (int code = 0; code < API_CAUSE_COUNT; code++) {
        if (result->aborts[code] > 0) {
            key_u64(out, cause_name(code), result->aborts[code]);
        }
    }
    api_jw_close(out, '}');
    key_u64(out, "refused", result->refused);
    key_u64(out, "late", result->late);
    key_u64(out, "hazards", result->hazards);
    key_u64(out, "broken", result->broken);
    key_u64(out, "unsent", result->unsent);
}

static void write_processes(struct tpc_buf *out, const struct cli_bench *bench,
                            const struct cli_drive_result *result, const struct costs *costs)
{
    const struct cli_sample_plan *plan = &bench->drive.sample;
    const struct cli_sample *before = &result->before, *after = &result->after;
    api_jw_key(out, "processes");
    api_jw_open(out, '[');
    for (unsigned i = 0; i < plan->process_count; i++) {
        int member = member_of(bench, plan->processes[i].name);
        api_jw_open(out, '{');
        api_jw_key(out, "name");
        api_jw_str(out, plan->processes[i].name);
        key_u64(out, "pid", (uint64_t)plan->processes[i].pid);
        key_double(out, "cpu_us", per(after->cpu_us[i], before->cpu_us[i], result->finished));
        key_double(out, "cores",
                   per(after->cpu_us[i], before->cpu_us[i], after->at_us - before->at_us));
        if (member >= 0 && before->member_told[member] && after->member_told[member]) {
            key_double(
                out, "forced_writes",
                per(after->member_forced[member], before->member_forced[member], costs->ended));
        }
        api_jw_close(out, '}');
    }
    api_jw_close(out, ']');
}

static void write_money(struct tpc_buf *out, const struct cli_bench_money *money)
{
    api_jw_key(out, "money");
    if (!money->checked) {
        api_jw_null(out);
        return;
    }
    api_jw_open(out, '{');
    api_jw_key(out, "kept");
    api_jw_bool(out, money->kept);
    api_jw_key(out, "exact");
    api_jw_bool(out, money->exact);
    api_jw_key(out, "before");
    api_jw_i64(out, money->before);
    api_jw_key(out, "after");
    api_jw_i64(out, money->after);
    if (!money->kept) {
        api_jw_key(out, "found");
        api_jw_str(out, money->found);
    }
    api_jw_close(out, '}');
}

static void write_document(struct tpc_buf *out, const struct cli_bench *bench,
                           const struct cli_drive_result *result, const struct costs *costs,
                           const struct cli_bench_money *money)
{
    api_jw_open(out, '{');
    write_head(out, bench, result);
    write_outcomes(out, result);
    key_u64(out, "attempts_again", costs->attempts_again);
    key_u64(out, "retries", costs->retries);
    api_jw_key(out, "coordinator");
    api_jw_open(out, '{');
    key_u64(out, "ended", costs->ended);
    key_double(out, "forced_writes", costs->forced);
    key_double(out, "messages", costs->messages);
    key_double(out, "requests", costs->requests);
    api_jw_close(out, '}');
    write_processes(out, bench, result, costs);
    write_money(out, money);
    api_jw_close(out, '}');
}

void cli_bench_report(const struct cli_bench *bench, const struct cli_drive_result *result,
                      const struct cli_bench_money *money)
{
    struct costs costs = costs_of(result);
    if (bench->format == CLI_TABLE) {
        print_head(bench, result);
        print_outcomes(result);
        print_costs(bench, result, &costs);
        print_money(money);
        return;
    }
    struct tpc_buf out = {0};
    struct api_json *json = NULL;
    write_document(&out, bench, result, &costs, money);
    if (api_json_parse(out.data, out.size, &json, NULL) == TPC_OK) {
        cli_print_json(bench->format, json);
        api_json_free(json);
    }
    tpc_buf_done(&out);
}
