/* The words of a statement's text, as far as they say what kind of statement it is. */
#ifndef ASSENT_PARTICIPANT_SQL_WORDS_H
#define ASSENT_PARTICIPANT_SQL_WORDS_H

#include <stdbool.h>
#include <stddef.h>

enum { PART_SQL_WORD_MAX = 32 };

/* Skip blanks, comments (they nest) and empty statements, then read a word of letters and '_' in
 * upper case, cut to what @out holds; "" when what follows is none. Moves *at behind it. */
const char *part_sql_word(const char **at, char out[PART_SQL_WORD_MAX]);
/* Is @word, of any case, anywhere in @sql as a whole word? Also in its strings and comments. */
bool part_sql_mentions(const char *sql, const char *word);

#endif
