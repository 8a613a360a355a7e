/* Draws the state machines from their tables, so that the documentation cannot say anything else.
 *
 *   fsm_diagram check FILE    status 1 when a drawing in FILE is not what the table gives
 *   fsm_diagram write FILE    replace the drawings in FILE
 *
 * A drawing stands between the lines "<!-- begin NAME -->" and "<!-- end NAME -->". */
#include "base/buf.h"
#include "coordinator/coord_fsm.h"
#include "participant/part_fsm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct machine {
    const char *name;
    unsigned states, events;
    const char *(*state_name)(unsigned state);
    const char *(*event_name)(unsigned event);
    uint32_t (*allowed)(unsigned state, unsigned event);
};

#define MACHINE(prefix)                                                                            \
    static const char *prefix##_state(unsigned state)                                              \
    {                                                                                              \
        return prefix##_state_name((enum prefix##_state)state);                                    \
    }                                                                                              \
    static const char *prefix##_event(unsigned event)                                              \
    {                                                                                              \
        return prefix##_event_name((enum prefix##_event_type)event);                               \
    }                                                                                              \
    static uint32_t prefix##_row(unsigned state, unsigned event)                                   \
    {                                                                                              \
        return prefix##_allowed((enum prefix##_state)state, (enum prefix##_event_type)event);      \
    }
#define ROW(name, prefix, PREFIX)                                                                  \
    {                                                                                              \
        name, PREFIX##_STATE_COUNT, PREFIX##_EVENT_COUNT, prefix##_state, prefix##_event,          \
            prefix##_row                                                                           \
    }

MACHINE(coord)
MACHINE(part)
static const struct machine machines[] = {ROW("coordinator", coord, COORD),
                                          ROW("participant", part, PART)};
enum { MACHINES = sizeof machines / sizeof machines[0] };

/* The events that may lead from one state to another, `per_line` a line; false: none does. */
static bool add_events(struct tpc_buf *out, const struct machine *machine, unsigned from,
                       unsigned to, unsigned per_line, const char *line_end)
{
    unsigned count = 0;
    for (unsigned event = 0; event < machine->events; event++) {
        if ((machine->allowed(from, event) >> to & 1) != 0) {
            tpc_buf_adds(out, count == 0 ? "" : count % per_line == 0 ? line_end : ", ");
            tpc_buf_adds(out, machine->event_name(event));
            count++;
        }
    }
    return count > 0;
}

static bool is_final(const struct machine *machine, unsigned state)
{
    uint32_t all = 0;
    for (unsigned event = 0; event < machine->events; event++) {
        all |= machine->allowed(state, event);
    }
    return all == UINT32_C(1) << state;
}

static void draw_moves(struct tpc_buf *out, const struct machine *machine)
{
    tpc_buf_addf(out, "```mermaid\nstateDiagram-v2\n    [*] --> %s\n", machine->state_name(0));
    for (unsigned from = 0; from < machine->states; from++) {
        for (unsigned to = 0; to < machine->states; to++) {
            struct tpc_buf events = {0};
            if (from != to && add_events(&events, machine, from, to, 3, "<br/>")) {
                tpc_buf_addf(out, "    %s --> %s: %s\n", machine->state_name(from),
                             machine->state_name(to), events.data);
            }
            out->failed |= events.failed;
            tpc_buf_done(&events);
        }
        if (is_final(machine, from)) {
            tpc_buf_addf(out, "    %s --> [*]\n", machine->state_name(from));
        }
    }
    tpc_buf_adds(out, "```\n");
}

static void list_stays(struct tpc_buf *out, const struct machine *machine)
{
    tpc_buf_adds(out, "\n| state | events after which it may still be there |\n| --- | --- |\n");
    for (unsigned state = 0; state < machine->states; state++) {
        struct tpc_buf events = {0};
        if (add_events(&events, machine, state, state, machine->events, "")) {
            tpc_buf_addf(out, "| %s | %s |\n", machine->state_name(state), events.data);
        }
        out->failed |= events.failed;
        tpc_buf_done(&events);
    }
}

/* @text with each drawing made anew; false when a place for one is missing, or memory. */
static bool redraw(const struct tpc_buf *text, struct tpc_buf *out)
{
    const char *from = text->data;
    for (unsigned i = 0; i < MACHINES; i++) {
        char begin[64], end[64];
        snprintf(begin, sizeof begin, "<!-- begin %s -->\n", machines[i].name);
        snprintf(end, sizeof end, "<!-- end %s -->\n", machines[i].name);
        const char *first = strstr(from, begin);
        const char *last = first != NULL ? strstr(first, end) : NULL;
        if (last == NULL) {
            fprintf(stderr, "fsm_diagram: no place for the %s\n", machines[i].name);
            return false;
        }
        tpc_buf_add(out, from, (size_t)(first - from) + strlen(begin));
        draw_moves(out, &machines[i]);
        list_stays(out, &machines[i]);
        from = last;
    }
    tpc_buf_adds(out, from);
    return !out->failed;
}

static bool read_file(const char *path, struct tpc_buf *out)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        return false;
    }
    char chunk[4096];
    size_t size;
    tpc_buf_adds(out, "");
    while ((size = fread(chunk, 1, sizeof chunk, file)) > 0) {
        tpc_buf_add(out, chunk, size);
    }
    bool good = ferror(file) == 0 && !out->failed;
    fclose(file);
    return good;
}

static bool write_file(const char *path, const struct tpc_buf *text)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        perror(path);
        return false;
    }
    bool good = fwrite(text->data, 1, text->size, file) == text->size;
    return fclose(file) == 0 && good;
}

static bool check(const char *path, const struct tpc_buf *text, const struct tpc_buf *drawn)
{
    bool same = text->size == drawn->size && memcmp(text->data, drawn->data, text->size) == 0;
    if (!same) {
        fprintf(stderr, "%s is not what the tables give; run: fsm_diagram write %s\n", path, path);
    }
    return same;
}

int main(int argc, char **argv)
{
    bool writes = argc == 3 && strcmp(argv[1], "write") == 0;
    if (!writes && (argc != 3 || strcmp(argv[1], "check") != 0)) {
        fprintf(stderr, "usage: fsm_diagram check|write FILE\n");
        return 2;
    }
    struct tpc_buf text = {0}, drawn = {0};
    bool good = read_file(argv[2], &text) && redraw(&text, &drawn) &&
                (writes ? write_file(argv[2], &drawn) : check(argv[2], &text, &drawn));
    tpc_buf_done(&text);
    tpc_buf_done(&drawn);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
