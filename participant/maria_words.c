/* What a branch's statements may be, as far as their words show. Only what reads and writes rows
 * may be in a branch: whatever else there is in MariaDB commits implicitly, acts on the session, or
 * does what nobody can see before it is done. What the words do not show the server refuses by
 * itself: in an XA transaction it carries out nothing that would commit. */
#include "participant/maria_internal.h"
#include "participant/sql_words.h"

#include <ctype.h>
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

static const char *const control[] = {"BEGIN",   "START",      "COMMIT",  "ROLLBACK",
                                      "XA",      "SAVEPOINT",  "RELEASE", "PREPARE",
                                      "EXECUTE", "DEALLOCATE", "END",     NULL};
static const char *const session[] = {"SET",  "USE",   "LOCK",  "UNLOCK", "HANDLER",
                                      "KILL", "FLUSH", "RESET", NULL};
static const char *const unseen[] = {"CALL", "DO", "LOAD", "ANALYZE", NULL};
static const char *const queries[] = {"SELECT", "VALUES", "WITH", "TABLE", NULL};
static const char *const shows[] = {"SHOW", "DESCRIBE", "DESC", "EXPLAIN", "HELP", NULL};
static const char *const writes[] = {"INSERT", "UPDATE", "DELETE", "REPLACE", NULL};
/* Locks that are to last until the decision, and locks that outlive it. */
static const char *const locks[] = {"UPDATE", "SHARE", NULL};
static const char *const user_locks[] = {"GET_LOCK", "RELEASE_LOCK", "RELEASE_ALL_LOCKS", NULL};

static bool mentions_one_of(const char *sql, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (part_sql_mentions(sql, *words)) {
            return true;
        }
    }
    return false;
}

static bool refuse(struct part_refusal *refusal, const char *what, const char *why)
{
    part_refuse(refusal, API_CAUSE_NOT_SUPPORTED, "%s is not allowed in a branch: %s", what, why);
    return false;
}

static bool refuse_first_word(const char *word, struct part_refusal *refusal)
{
    if (*word == '\0') {
        part_refuse(refusal, API_CAUSE_SQL_ERROR, "there is no statement in this text");
        return false;
    }
    if (is_one_of(word, control)) {
        return refuse(refusal, word,
                      "the coordinator begins and ends it; send the statements alone");
    }
    if (is_one_of(word, session)) {
        return refuse(refusal, word, "it would outlive the transaction");
    }
    if (is_one_of(word, unseen)) {
        return refuse(refusal, word,
                      "which tables it writes is not seen before it is done, and those of an "
                      "engine without transactions would keep what is rolled back elsewhere; send "
                      "the statements themselves");
    }
    return refuse(refusal, word, "MariaDB commits implicitly when it carries it out");
}

/* A variable of the user: '@' and a name, outside of strings. */
static bool names_variable(const char *sql)
{
    char quote = '\0';
    for (; *sql != '\0'; sql++) {
        if (quote != '\0' && *sql == '\\' && sql[1] != '\0') {
            sql++; /* what is escaped ends no string */
        } else if (quote != '\0') {
            quote = *sql == quote ? '\0' : quote;
        } else if (*sql == '\'' || *sql == '"') {
            quote = *sql;
        } else if (*sql == '@' || (*sql == ':' && sql[1] == '=')) {
            return true;
        }
    }
    return false;
}

bool maria_changes_rows(const char *sql)
{
    char word[PART_SQL_WORD_MAX];
    part_sql_word(&sql, word);
    return is_one_of(word, writes);
}

bool maria_judge(const char *sql, struct maria_verdict *ret_verdict, struct part_refusal *refusal)
{
    char word[PART_SQL_WORD_MAX];
    const char *at = sql;
    part_sql_word(&at, word);
    if (*word == '\0' && *at == '(') {
        strcpy(word, "SELECT"); /* nothing else begins with it */
    }
    bool query = is_one_of(word, queries), show = is_one_of(word, shows);
    if (!query && !show && !is_one_of(word, writes)) {
        return refuse_first_word(word, refusal);
    }
    if (mentions_one_of(sql, user_locks)) {
        return refuse(refusal, "a user lock", "it does not end with the transaction");
    }
    if (strcasestr(sql, "_assent_") != NULL) {
        return refuse(refusal, "what is named _assent_", "it is the agent's own");
    }
    *ret_verdict = (struct maria_verdict){.query = show || (query && !mentions_one_of(sql, locks)),
                                          .shows = show,
                                          .taints = names_variable(sql)};
    return true;
}
