#include "participant/sql_words.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const char *skip_comment(const char *at)
{
    unsigned depth = 0;
    do {
        if (at[0] == '/' && at[1] == '*') {
            depth++;
            at += 2;
        } else if (at[0] == '*' && at[1] == '/') {
            depth--;
            at += 2;
        } else {
            at++;
        }
    } while (*at != '\0' && depth > 0);
    return at;
}

static const char *skip_blank(const char *at)
{
    for (;;) {
        if (isspace((unsigned char)*at) || *at == ';') {
            at++;
        } else if (at[0] == '-' && at[1] == '-') {
            at += strcspn(at, "\r\n");
        } else if (at[0] == '/' && at[1] == '*') {
            at = skip_comment(at);
        } else {
            return at;
        }
    }
}

static bool is_word(char c)
{
    return isalpha((unsigned char)c) || c == '_';
}

const char *part_sql_word(const char **at, char out[PART_SQL_WORD_MAX])
{
    size_t size = 0;
    const char *p = skip_blank(*at);
    for (; is_word(*p) || (size > 0 && isdigit((unsigned char)*p)); p++) {
        if (size < PART_SQL_WORD_MAX - 1) {
            out[size++] = (char)toupper((unsigned char)*p);
        }
    }
    out[size] = '\0';
    *at = p;
    return out;
}

bool part_sql_mentions(const char *sql, const char *word)
{
    size_t size = strlen(word);
    for (const char *at = sql; (at = strcasestr(at, word)) != NULL; at++) {
        bool begins = at == sql || (!is_word(at[-1]) && !isdigit((unsigned char)at[-1]));
        if (begins && !is_word(at[size]) && !isdigit((unsigned char)at[size])) {
            return true;
        }
    }
    return false;
}
