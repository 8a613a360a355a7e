/* When another session may end what a session has prepared.
 *
 * A session that ends hands its prepared branch over to the server in two steps: first its name can
 * be had by others, then InnoDB lets go of the work. To an XA COMMIT or XA ROLLBACK between the two
 * the server says OK, forgets the name and does nothing: the branch holds its locks, and nobody can
 * end it until the server is started again. No statement tells when the second step is done, so we
 * wait for a while from when the session is gone from the list of processes, which is between the
 * two as well, a few instructions before the second. Where it is not known which session it was,
 * all must be gone that it may have been: of this user, at work in this database, from before this
 * run of the agent or lost in it.
 *
 * After a restart of the server, which has handed over everything, somebody else's session may have
 * the number of the one that is waited for, and others may share user and database. That is why
 * there is an end to it, right after an answer that it is there: it does not end just then. */
#include "participant/maria_internal.h"

#include "base/clock.h"

enum { GONE_MS = 250, THERE_MAX_MS = 10000 };

bool maria_detach_is_over(const struct maria_detach *detach, uint64_t now_ms)
{
    return detach->gone_ms != 0 && now_ms >= detach->gone_ms + GONE_MS;
}

static bool is_session_of_ours(const struct part_maria *maria, unsigned long thread)
{
    for (size_t i = 0; i < maria_session_count(maria); i++) {
        const struct maria_session *session = &maria->sessions[i];
        if (session->state == MARIA_READY && !session->retires && session->thread == thread) {
            return true;
        }
    }
    return false;
}

static void note_gone(struct maria_detach *detach)
{
    detach->gone_ms = tpc_clock_mono_ms();
    detach->next_ms = detach->gone_ms + GONE_MS;
}

/* Those that were before this run, or were lost in it; not those that we have now. */
static void ask_for_all(const struct part_maria *maria, struct tpc_buf *text)
{
    unsigned long before = maria->first_thread > 0 ? maria->first_thread - 1 : 0;
    tpc_buf_addf(text,
                 "ID <= %lu AND (DB IS NULL OR DB = DATABASE())"
                 " AND USER = SUBSTRING_INDEX(USER(), '@', 1) AND ID NOT IN (0",
                 before > maria->lost_thread ? before : maria->lost_thread);
    for (size_t i = 0; i < maria_session_count(maria); i++) {
        if (maria->sessions[i].conn != NULL) {
            tpc_buf_addf(text, ",%lu", maria->sessions[i].thread);
        }
    }
    tpc_buf_addc(text, ')');
}

bool maria_detach_ask(struct maria_session *session, struct maria_detach *detach,
                      void (*done)(struct maria_session *))
{
    uint64_t now_ms = tpc_clock_mono_ms();
    if (detach->gone_ms != 0) {
        return false;
    }
    detach->asked_ms = detach->asked_ms != 0 ? detach->asked_ms : now_ms;
    detach->next_ms = now_ms + GONE_MS;
    if (detach->thread != 0 && is_session_of_ours(session->maria, detach->thread)) {
        note_gone(detach);
        return false;
    }
    tpc_buf_clear(&session->text);
    tpc_buf_adds(&session->text, "SELECT 1 FROM information_schema.PROCESSLIST WHERE ");
    if (detach->thread != 0) {
        tpc_buf_addf(&session->text, "ID = %lu", detach->thread);
    } else {
        ask_for_all(session->maria, &session->text);
    }
    maria_send(session, NULL, done);
    return true;
}

bool maria_detach_answered(const struct maria_session *session, struct maria_detach *detach)
{
    if (session->error.code == 0 && session->found_rows == 0) {
        note_gone(detach);
    }
    return detach->gone_ms == 0 && tpc_clock_mono_ms() >= detach->asked_ms + THERE_MAX_MS;
}
