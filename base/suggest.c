#include "base/suggest.h"

#include <string.h>

enum { WORD_MAX = 64 };

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Levenshtein's distance by the two-row method; both words are shorter than WORD_MAX. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t row[WORD_MAX];
    for (size_t j = 0; j <= b_length; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t above = row[j];
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[b_length];
}

void tpc_suggest_init(struct tpc_suggest *suggest, const char *word, size_t length)
{
    *suggest = (struct tpc_suggest){.word = word, .length = length};
    /* A third of the word may be wrong, but always two letters. */
    suggest->distance = (length / 3 > 2 ? length / 3 : 2) + 1;
}

void tpc_suggest_offer(struct tpc_suggest *suggest, const char *known)
{
    size_t known_length = strlen(known);
    if (suggest->length >= WORD_MAX || known_length >= WORD_MAX) {
        return;
    }
    size_t d = distance(suggest->word, suggest->length, known, known_length);
    /* More than half of it wrong is another word. */
    if (d < suggest->distance && d * 2 <= known_length) {
        suggest->distance = d;
        suggest->nearest = known;
    }
}
