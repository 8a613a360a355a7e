#include "coordinator/coord_fsm.h"

static const char *name_of(const char *const *names, unsigned count, unsigned index)
{
    return index < count ? names[index] : "?";
}

#define NAME(name)             #name,
#define STATE_NAME(name, text) #name,
#define STATE_TEXT(name, text) text,

const char *coord_state_name(enum coord_state state)
{
    static const char *const names[] = {COORD_STATE_LIST(STATE_NAME)};
    return name_of(names, COORD_STATE_COUNT, state);
}

const char *coord_state_text(enum coord_state state)
{
    static const char *const texts[] = {COORD_STATE_LIST(STATE_TEXT)};
    return name_of(texts, COORD_STATE_COUNT, state);
}

const char *coord_event_name(enum coord_event_type type)
{
    static const char *const names[] = {COORD_EVENT_LIST(NAME)};
    return name_of(names, COORD_EVENT_COUNT, type);
}

const char *coord_effect_name(enum coord_effect_type type)
{
    static const char *const names[] = {COORD_EFFECT_LIST(NAME)};
    return name_of(names, COORD_EFFECT_COUNT, type);
}

const char *coord_vote_name(enum coord_vote vote)
{
    static const char *const names[] = {
        [COORD_VOTE_NONE] = NULL,
        [COORD_VOTE_YES] = "yes",
        [COORD_VOTE_NO] = "no",
        [COORD_VOTE_READ_ONLY] = "read_only",
        [COORD_VOTE_COMMITTED] = "committed",
    };
    return name_of(names, sizeof names / sizeof names[0], vote);
}
