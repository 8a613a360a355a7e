#include "participant/sqlite_locks.h"

#include "base/table.h"
#include "base/tpc_assert.h"

#include <stdlib.h>
#include <string.h>

#define MODES 4

/* One lock of one owner. */
struct part_lock_ref {
    struct part_lock lock;
    struct entry *entry;
    size_t position; /* in entry->users */
};

struct user {
    struct part_lock_owner *owner;
    size_t ref; /* in owner->refs */
};

/* One locked thing: everybody who holds it or waits for it. */
struct entry {
    struct tpc_id name;
    struct user *users;
    size_t count, capacity;
    size_t held[MODES], wanted[MODES]; /* by mode, to answer without looking at every user */
    UT_hash_handle hh;
};

struct part_locks {
    struct entry *entries;
    struct part_lock_owner *first, *last; /* the queue, by turn */
    uint64_t turns;
    size_t held;
    bool overtaken;
};

static int compare_locks(const void *a, const void *b)
{
    const struct part_lock *x = a, *y = b;
    return tpc_id_compare(&x->name, &y->name);
}

size_t part_lock_join(struct part_lock *locks, size_t count)
{
    if (count == 0) {
        return 0;
    }
    qsort(locks, count, sizeof(*locks), compare_locks);
    size_t kept = 0;
    for (size_t i = 1; i < count; i++) {
        if (tpc_id_equal(&locks[i].name, &locks[kept].name)) {
            locks[kept].modes |= locks[i].modes;
        } else {
            locks[++kept] = locks[i];
        }
    }
    return kept + 1;
}

enum tpc_rc part_locks_new(struct part_locks **ret_locks)
{
    *ret_locks = calloc(1, sizeof(**ret_locks));
    return *ret_locks != NULL ? TPC_OK : TPC_ENOMEM;
}

void part_locks_free(struct part_locks *locks)
{
    if (locks == NULL) {
        return;
    }
    TPC_ASSERT(locks->entries == NULL && locks->first == NULL);
    free(locks);
}

/* The modes that cannot stand beside @modes of another owner. */
static unsigned excluded_by(unsigned modes)
{
    unsigned out = 0;
    out |= (modes & PART_LOCK_IS) != 0 ? PART_LOCK_X : 0u;
    out |= (modes & PART_LOCK_IX) != 0 ? PART_LOCK_S | PART_LOCK_X : 0u;
    out |= (modes & PART_LOCK_S) != 0 ? PART_LOCK_IX | PART_LOCK_X : 0u;
    out |=
        (modes & PART_LOCK_X) != 0 ? PART_LOCK_IS | PART_LOCK_IX | PART_LOCK_S | PART_LOCK_X : 0u;
    return out;
}

static bool any_of(const size_t counts[MODES], unsigned modes)
{
    for (unsigned i = 0; i < MODES; i++) {
        if ((modes & (1u << i)) != 0 && counts[i] != 0) {
            return true;
        }
    }
    return false;
}

static bool older(const struct part_lock_owner *a, const struct part_lock_owner *b)
{
    return a->began_us != b->began_us ? a->began_us < b->began_us
                                      : tpc_id_compare(&a->gtid, &b->gtid) < 0;
}

static struct entry *find_entry(const struct part_locks *locks, const struct tpc_id *name)
{
    struct entry *entry = NULL;
    HASH_FIND(hh, locks->entries, name, sizeof(*name), entry);
    return entry;
}

static struct entry *make_entry(struct part_locks *locks, const struct tpc_id *name)
{
    struct entry *entry = find_entry(locks, name);
    if (entry != NULL) {
        return entry;
    }
    entry = calloc(1, sizeof(*entry));
    if (entry != NULL) {
        entry->name = *name;
        HASH_ADD(hh, locks->entries, name, sizeof(entry->name), entry);
    }
    return entry;
}

static void drop_entry_if_unused(struct part_locks *locks, struct entry *entry)
{
    if (entry->count == 0) {
        /* uthash walks by offsets, which the analyzer does not follow. */
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
        HASH_DEL(locks->entries, entry);
        free(entry->users);
        free(entry);
    }
}

static void count_modes(struct entry *entry, const struct part_lock_owner *owner, unsigned modes,
                        bool add)
{
    size_t *counts = owner->state == PART_LOCK_HOLDING ? entry->held : entry->wanted;
    for (unsigned i = 0; i < MODES; i++) {
        if ((modes & (1u << i)) != 0) {
            counts[i] = add ? counts[i] + 1 : counts[i] - 1;
        }
    }
}

static bool add_user(struct entry *entry, struct part_lock_owner *owner, size_t ref)
{
    if (entry->count == entry->capacity) {
        size_t capacity = entry->capacity == 0 ? 2 : entry->capacity * 2;
        struct user *users = realloc(entry->users, capacity * sizeof(*users));
        if (users == NULL) {
            return false;
        }
        entry->users = users;
        entry->capacity = capacity;
    }
    owner->refs[ref].entry = entry;
    owner->refs[ref].position = entry->count;
    entry->users[entry->count++] = (struct user){.owner = owner, .ref = ref};
    count_modes(entry, owner, owner->refs[ref].lock.modes, true);
    return true;
}

static void remove_user(struct part_locks *locks, struct part_lock_owner *owner, size_t ref)
{
    struct entry *entry = owner->refs[ref].entry;
    size_t position = owner->refs[ref].position;
    count_modes(entry, owner, owner->refs[ref].lock.modes, false);
    struct user moved = entry->users[--entry->count];
    entry->users[position] = moved;
    moved.owner->refs[moved.ref].position = position;
    drop_entry_if_unused(locks, entry);
}

static void enqueue(struct part_locks *locks, struct part_lock_owner *owner)
{
    if (owner->turn == 0) {
        owner->turn = ++locks->turns;
    }
    struct part_lock_owner *before = locks->last;
    while (before != NULL && before->turn > owner->turn) {
        before = before->prev;
    }
    owner->prev = before;
    owner->next = before != NULL ? before->next : locks->first;
    *(owner->next != NULL ? &owner->next->prev : &locks->last) = owner;
    *(before != NULL ? &before->next : &locks->first) = owner;
}

static void dequeue(struct part_locks *locks, struct part_lock_owner *owner)
{
    *(owner->prev != NULL ? &owner->prev->next : &locks->first) = owner->next;
    *(owner->next != NULL ? &owner->next->prev : &locks->last) = owner->prev;
    owner->prev = owner->next = NULL;
}

static void drop_refs(struct part_locks *locks, struct part_lock_owner *owner, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        remove_user(locks, owner, i);
    }
    free(owner->refs);
    owner->refs = NULL;
    owner->count = 0;
    owner->state = PART_LOCK_IDLE;
}

static enum tpc_rc enter(struct part_locks *locks, struct part_lock_owner *owner,
                         const struct part_lock *wanted, size_t count, enum part_lock_state state)
{
    TPC_ASSERT(owner->state == PART_LOCK_IDLE);
    owner->refs = calloc(count + 1, sizeof(*owner->refs));
    if (owner->refs == NULL) {
        return TPC_ENOMEM;
    }
    owner->state = state;
    for (size_t i = 0; i < count; i++) {
        owner->refs[i].lock = wanted[i];
        struct entry *entry = make_entry(locks, &wanted[i].name);
        if (entry == NULL || !add_user(entry, owner, i)) {
            if (entry != NULL) {
                drop_entry_if_unused(locks, entry);
            }
            drop_refs(locks, owner, i);
            return TPC_ENOMEM;
        }
    }
    owner->count = count;
    if (state == PART_LOCK_WAITING) {
        enqueue(locks, owner);
    } else {
        locks->held += count;
    }
    return TPC_OK;
}

/* What @owner meets at one entry, added to the answer so far. */
static enum part_lock_answer meet(const struct part_lock_owner *owner, const struct entry *entry,
                                  unsigned excluded, enum part_lock_answer answer,
                                  const struct part_lock_owner **other, bool *overtakes)
{
    for (size_t i = 0; i < entry->count; i++) {
        const struct part_lock_owner *user = entry->users[i].owner;
        if (user == owner || (user->refs[entry->users[i].ref].lock.modes & excluded) == 0) {
            continue;
        }
        bool waits = user->state == PART_LOCK_WAITING;
        /* One that came back from the queue has its turn; and an older one need not stand behind
         * a younger one that only waits. */
        if (waits && (owner->turn != 0 || older(owner, user))) {
            *overtakes |= !user->alone && older(owner, user);
            continue;
        }
        *other = user;
        if (!older(owner, user) && !owner->alone) {
            return PART_LOCK_DIE;
        }
        answer = PART_LOCK_WAIT;
    }
    return answer;
}

/* What it holds nobody stands in the way of, also not one that waits for it. */
static bool has(const struct part_lock_owner *owner, const struct entry *entry, unsigned modes)
{
    if (owner->state != PART_LOCK_HOLDING) {
        return false;
    }
    for (size_t i = 0; i < entry->count; i++) {
        if (entry->users[i].owner == owner) {
            unsigned held = owner->refs[entry->users[i].ref].lock.modes;
            return (held & PART_LOCK_X) != 0 || (modes & ~held) == 0;
        }
    }
    return false;
}

static enum part_lock_answer ask(const struct part_locks *locks,
                                 const struct part_lock_owner *owner,
                                 const struct part_lock *wanted, size_t count,
                                 const struct part_lock_owner **other, bool *overtakes)
{
    enum part_lock_answer answer = PART_LOCK_GRANTED;
    for (size_t i = 0; i < count && answer != PART_LOCK_DIE; i++) {
        const struct entry *entry = find_entry(locks, &wanted[i].name);
        unsigned excluded = excluded_by(wanted[i].modes);
        if (entry != NULL && (any_of(entry->held, excluded) || any_of(entry->wanted, excluded)) &&
            !has(owner, entry, wanted[i].modes)) {
            answer = meet(owner, entry, excluded, answer, other, overtakes);
        }
    }
    return answer;
}

enum tpc_rc part_locks_acquire(struct part_locks *locks, struct part_lock_owner *owner,
                               const struct part_lock *wanted, size_t count,
                               enum part_lock_answer *ret_answer,
                               const struct part_lock_owner **ret_other)
{
    const struct part_lock_owner *other = NULL;
    bool overtakes = false;
    enum part_lock_answer answer = ask(locks, owner, wanted, count, &other, &overtakes);
    if (answer != PART_LOCK_DIE) {
        enum tpc_rc rc = enter(locks, owner, wanted, count,
                               answer == PART_LOCK_WAIT ? PART_LOCK_WAITING : PART_LOCK_HOLDING);
        if (rc != TPC_OK) {
            return rc;
        }
    }
    locks->overtaken |= overtakes && answer == PART_LOCK_GRANTED;
    *ret_answer = answer;
    if (ret_other != NULL) {
        *ret_other = other;
    }
    return TPC_OK;
}

enum tpc_rc part_locks_extend(struct part_locks *locks, struct part_lock_owner *owner,
                              const struct part_lock *wanted, size_t count,
                              enum part_lock_answer *ret_answer,
                              const struct part_lock_owner **ret_other)
{
    const struct part_lock_owner *other = NULL;
    bool overtakes = false;
    TPC_ASSERT(owner->state == PART_LOCK_HOLDING);
    enum part_lock_answer answer = ask(locks, owner, wanted, count, &other, &overtakes);
    if (answer == PART_LOCK_GRANTED) {
        part_locks_release(locks, owner);
        enum tpc_rc rc = enter(locks, owner, wanted, count, PART_LOCK_HOLDING);
        if (rc != TPC_OK) {
            return rc;
        }
    }
    locks->overtaken |= overtakes && answer == PART_LOCK_GRANTED;
    *ret_answer = answer;
    if (ret_other != NULL) {
        *ret_other = other;
    }
    return TPC_OK;
}

enum tpc_rc part_locks_restore(struct part_locks *locks, struct part_lock_owner *owner,
                               const struct part_lock *held, size_t count)
{
    return enter(locks, owner, held, count, PART_LOCK_HOLDING);
}

void part_locks_release(struct part_locks *locks, struct part_lock_owner *owner)
{
    if (owner->state == PART_LOCK_IDLE) {
        return;
    }
    if (owner->state == PART_LOCK_WAITING) {
        dequeue(locks, owner);
    } else {
        locks->held -= owner->count;
    }
    drop_refs(locks, owner, owner->count);
}

static bool older_holds(const struct part_lock_owner *owner, const struct entry *entry,
                        unsigned excluded)
{
    for (size_t i = 0; i < entry->count; i++) {
        const struct part_lock_owner *user = entry->users[i].owner;
        if (user->state == PART_LOCK_HOLDING && older(user, owner) &&
            (user->refs[entry->users[i].ref].lock.modes & excluded) != 0) {
            return true;
        }
    }
    return false;
}

/* Has it to go on waiting? */
static bool blocked(const struct part_lock_owner *owner)
{
    bool found = false;
    for (size_t i = 0; i < owner->count; i++) {
        const struct part_lock_ref *ref = &owner->refs[i];
        unsigned excluded = excluded_by(ref->lock.modes);
        if (any_of(ref->entry->held, excluded)) {
            if (owner->alone) {
                return true;
            }
            if (older_holds(owner, ref->entry, excluded)) {
                return false;
            }
            found = true;
        }
    }
    return found;
}

bool part_locks_overtaken(struct part_locks *locks)
{
    bool overtaken = locks->overtaken;
    locks->overtaken = false;
    return overtaken;
}

struct part_lock_owner *part_locks_next(struct part_locks *locks, uint64_t *cursor)
{
    struct part_lock_owner *owner = locks->first;
    while (owner != NULL && (owner->turn <= *cursor || blocked(owner))) {
        owner = owner->next;
    }
    if (owner != NULL) {
        *cursor = owner->turn;
        part_locks_release(locks, owner);
    }
    return owner;
}

struct part_lock_owner *part_locks_queue(const struct part_locks *locks)
{
    return locks->first;
}

size_t part_locks_held(const struct part_locks *locks)
{
    return locks->held;
}
