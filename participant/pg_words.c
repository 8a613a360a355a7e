/* What a branch's statements may not do, as far as their words show: end the transaction, or leave
 * something behind in a session that serves others after it. What the words do not show the server
 * refuses by itself at PREPARE TRANSACTION. */
#include "participant/pg_internal.h"
#include "participant/sql_words.h"

#include <string.h>

static bool is_one_of(const char *word, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strcmp(word, *words) == 0) {
            return true;
        }
    }
    return false;
}

static const char *const control[] = {"BEGIN",    "START",   "COMMIT",     "END",
                                      "ROLLBACK", "ABORT",   "PREPARE",    "SAVEPOINT",
                                      "RELEASE",  "EXECUTE", "DEALLOCATE", NULL};
static const char *const session[] = {"LISTEN", "UNLISTEN", "NOTIFY", "DISCARD",
                                      "RESET",  "LOAD",     "COPY",   NULL};
static const char *const queries[] = {"SELECT", "VALUES", "TABLE", "SHOW", "EXPLAIN", "WITH", NULL};
static const char *const writes[] = {"INSERT", "UPDATE", "DELETE", "MERGE", "INTO", NULL};

static bool refuse(struct part_refusal *refusal, const char *what, const char *why)
{
    part_refuse(refusal, API_CAUSE_NOT_SUPPORTED,
                "%s is not allowed inside a transaction over several databases: %s", what, why);
    return false;
}

/* SET LOCAL and SET CONSTRAINTS end with the transaction, whatever else is set does not. */
static bool may_set(const char *at, struct part_refusal *refusal)
{
    char word[PART_SQL_WORD_MAX];
    part_sql_word(&at, word);
    if (strcmp(word, "TRANSACTION") == 0) {
        return refuse(refusal, "SET TRANSACTION",
                      "send \"isolation\": \"serializable\" with the transaction");
    }
    return strcmp(word, "LOCAL") == 0 || strcmp(word, "CONSTRAINTS") == 0 ||
           refuse(refusal, "SET", "it would outlive the transaction; use SET LOCAL");
}

static bool may_create(const char *at, struct part_refusal *refusal)
{
    char word[PART_SQL_WORD_MAX];
    part_sql_word(&at, word);
    if (strcmp(word, "LOCAL") == 0 || strcmp(word, "GLOBAL") == 0) {
        part_sql_word(&at, word);
    }
    return (strcmp(word, "TEMP") != 0 && strcmp(word, "TEMPORARY") != 0) ||
           refuse(refusal, "a temporary table", "it cannot be prepared; use a query's WITH");
}

static bool mentions_one_of(const char *sql, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (part_sql_mentions(sql, *words)) {
            return true;
        }
    }
    return false;
}

/* Locks of the session stay when the branch has ended. */
static bool may_lock(const char *sql, struct part_refusal *refusal)
{
    static const char *const locks[] = {"pg_advisory_lock", "pg_advisory_lock_shared",
                                        "pg_try_advisory_lock", "pg_try_advisory_lock_shared",
                                        NULL};
    return strcasestr(sql, "advisory_lock") == NULL || !mentions_one_of(sql, locks) ||
           refuse(refusal, "a session's advisory lock",
                  "it does not end with the transaction; use pg_advisory_xact_lock");
}

bool pg_judge(const char *sql, bool one_phase, struct pg_verdict *ret_verdict,
              struct part_refusal *refusal)
{
    char word[PART_SQL_WORD_MAX];
    const char *at = sql;
    part_sql_word(&at, word);
    if (is_one_of(word, control)) {
        return refuse(refusal, word,
                      "the coordinator begins and ends it; send the statements alone");
    }
    if (is_one_of(word, session)) {
        return refuse(refusal, word, "it cannot be part of a prepared transaction");
    }
    if ((strcmp(word, "SET") == 0 && !may_set(at, refusal)) ||
        (strcmp(word, "CREATE") == 0 && !may_create(at, refusal)) || !may_lock(sql, refusal)) {
        return false;
    }
    bool query = is_one_of(word, queries);
    if (query && (word[0] == 'W' || word[0] == 'E')) {
        query = !mentions_one_of(sql, writes);
    }
    ret_verdict->query = query;
    ret_verdict->taints = strcasestr(sql, "set_config") != NULL ||
                          (one_phase && strcasestr(sql, "temp") != NULL &&
                           part_sql_mentions(sql, "into") && strcmp(word, "INSERT") != 0) ||
                          (one_phase && strcmp(word, "DECLARE") == 0);
    return true;
}
