/* In each run, with no bound but its configuration: any message lost, repeated, late or overtaken
 * (those of an inquiry within one step); a crash of any process at any time, again and again, with
 * each number of the lazy records surviving; a force that fails, whose record survives or not. From
 * every state, none left out, a run without faults has to end with nothing in doubt and no lock.
 *
 * What else can go wrong goes wrong in some run, alone or together with others, and in larger runs
 * it is left out:
 *
 *                       operators  retention  lost log  database  requests in  loose    connections
 *                                                       trouble   recovery     answers  refused
 *   one-phase                          x                    x          x          x          x
 *   one                     x          x                    x          x          x          x
 *   lost-log                                     x                 x          x          x
 *   one-phase-lost-log                           x                 x          x          x
 *   two                                                                                      x
 *   two-operators           x
 *   two-retention                      x
 *   two-lost-log                                 x
 *   two-trouble                                             x
 *   two-recovering                                                     x
 *   two-loose                                                                     x
 *   two-txns                           x
 *   three                                                                                    x
 *   two-by-two                                                                               x
 *   server                                                  x          x          x          x
 *   server-operators        x                                          x                     x
 *   server-retention        x          x                    x          x                     x
 *   server-meddlers         x                               x                                x
 *   two-servers
 *
 * Those of the last group prepare at a database server, which holds a branch by itself while its
 * record is under way and while the agent is down. Where nothing is erased its sessions get lost,
 * too, and do what they were sent later: what a session can do after the agent has forgotten the
 * branch (an hour, by default) is left out. Meddlers commit or roll back at the server what is
 * prepared there. That is shown, unless the agent dies after such a commit and before it knows.
 *
 * In none of them: interactive transactions before their prepare (the tables' ACTIVE and WORKING);
 * one phase at a server; conflicts over locks, which only ever refuse work. */
#include "tests/model/runs.h"

#define ALL_WORK (WORK_READY | WORK_READ_ONLY | WORK_REFUSED)

const struct run model_runs[] = {
    {.config = {.name = "one-phase",
                .parts = 1,
                .txns = 1,
                .one_phase = true,
                .work = ALL_WORK,
                .retention = true,
                .db_trouble = true,
                .undelivered = true,
                .loose_answers = true,
                .downtime = true}},
    {.config = {.name = "one",
                .parts = 1,
                .txns = 1,
                .work = ALL_WORK,
                .fickle = true,
                .operators = true,
                .retention = true,
                .db_trouble = true,
                .undelivered = true,
                .loose_answers = true,
                .downtime = true}},
    {.config = {.name = "lost-log",
                .parts = 1,
                .txns = 1,
                .work = ALL_WORK,
                .fickle = true,
                .lost_logs = true,
                .undelivered = true,
                .loose_answers = true,
                .downtime = true}},
    {.config = {.name = "one-phase-lost-log",
                .parts = 1,
                .txns = 1,
                .one_phase = true,
                .work = ALL_WORK,
                .lost_logs = true,
                .undelivered = true,
                .loose_answers = true,
                .downtime = true}},
    {.config = {.name = "server",
                .parts = 1,
                .txns = 1,
                .work = ALL_WORK,
                .fickle = true,
                .db_trouble = true,
                .undelivered = true,
                .loose_answers = true,
                .downtime = true,
                .servers = true,
                .lost_sessions = true}},
    {.config = {.name = "server-operators",
                .parts = 1,
                .txns = 1,
                .work = ALL_WORK,
                .fickle = true,
                .operators = true,
                .undelivered = true,
                .downtime = true,
                .servers = true,
                .lost_sessions = true}},
    {.config = {.name = "server-retention",
                .parts = 1,
                .txns = 1,
                .work = ALL_WORK,
                .fickle = true,
                .operators = true,
                .retention = true,
                .db_trouble = true,
                .undelivered = true,
                .downtime = true,
                .servers = true}},
    {.config = {.name = "server-meddlers",
                .parts = 1,
                .txns = 1,
                .work = ALL_WORK,
                .fickle = true,
                .operators = true,
                .db_trouble = true,
                .undelivered = true,
                .servers = true,
                .meddlers = true}},
    {.config = {.name = "two-servers",
                .parts = 2,
                .txns = 1,
                .work = WORK_READY,
                .servers = true,
                .lost_sessions = true,
                .greedy = true},
     .full = true},
    {.config = {.name = "two",
                .parts = 2,
                .txns = 1,
                .work = ALL_WORK,
                .fickle = true,
                .undelivered = true}},
    {.config = {.name = "two-retention",
                .parts = 2,
                .txns = 1,
                .work = WORK_READY,
                .retention = true,
                .greedy = true}},
    {.config = {.name = "two-trouble",
                .parts = 2,
                .txns = 1,
                .work = WORK_READY,
                .db_trouble = true,
                .greedy = true}},
    {.config = {.name = "two-recovering",
                .parts = 2,
                .txns = 1,
                .work = WORK_READY,
                .downtime = true,
                .greedy = true}},
    {.config = {.name = "two-loose",
                .parts = 2,
                .txns = 1,
                .work = WORK_READY,
                .loose_answers = true,
                .greedy = true}},
    {.config = {.name = "two-operators",
                .parts = 2,
                .txns = 1,
                .work = WORK_READY,
                .operators = true,
                .greedy = true},
     .full = true},
    {.config = {.name = "two-lost-log",
                .parts = 2,
                .txns = 1,
                .work = WORK_READY,
                .lost_logs = true,
                .greedy = true},
     .full = true},
    {.config = {.name = "two-txns", .parts = 1, .txns = 2, .work = WORK_READY, .retention = true},
     .full = true},
    {.config = {.name = "three",
                .parts = 3,
                .txns = 1,
                .work = ALL_WORK,
                .fickle = true,
                .undelivered = true,
                .greedy = true,
                .dead = true},
     .full = true},
    {.config = {.name = "two-by-two",
                .parts = 2,
                .txns = 2,
                .work = ALL_WORK,
                .fickle = true,
                .undelivered = true,
                .greedy = true,
                .dead = true,
                .hasty = true},
     .full = true},
};
const size_t model_run_count = sizeof model_runs / sizeof model_runs[0];

const struct run model_small_runs[] = {
    {.config = {.name = "small", .parts = 2, .txns = 1, .work = WORK_READY | WORK_READ_ONLY}},
    {.config = {.name = "small-txns", .parts = 1, .txns = 2, .work = WORK_READY, .crashes_max = 1}},
};
const size_t model_small_run_count = sizeof model_small_runs / sizeof model_small_runs[0];
