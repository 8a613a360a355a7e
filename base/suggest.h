/* Guess what a misspelt word was meant to be. */
#ifndef ASSENT_BASE_SUGGEST_H
#define ASSENT_BASE_SUGGEST_H

#include <stddef.h>

/* Keeps the nearest of the words it is offered. */
struct tpc_suggest {
    const char *word;    /* as the user wrote it */
    size_t length;       /* of word */
    const char *nearest; /* NULL: nothing near enough so far */
    size_t distance;
};

void tpc_suggest_init(struct tpc_suggest *suggest, const char *word, size_t length);
/* @known must outlive @suggest. */
void tpc_suggest_offer(struct tpc_suggest *suggest, const char *known);

#endif
