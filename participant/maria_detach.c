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

static void note_gone(struct maria_detach *detach)
{
    detach->gone_ms = tpc_clock_mono_ms();
    detach->next_ms = detach->gone_ms + GONE_MS;
}

/* Our present sessions are none of those that are waited for, also where the server was restarted
 * and one of them has the number of one of those. One that is being opened still shows the number
 * that it had before. */
static void write_ours(const struct part_maria *maria, struct tpc_buf *out)
{
    tpc_buf_adds(out, " AND ID NOT IN (0");
    for (size_t i = 0; i < maria_session_count(maria); i++) {
        const struct maria_session *session = &maria->sessions[i];
        if (session->state > MARIA_CONNECTING && !session->retires) {
            tpc_buf_addf(out, ",%lu", session->thread);
        }
    }
    tpc_buf_addc(out, ')');
}

void maria_detach_write(const struct part_maria *maria, unsigned long thread, struct tpc_buf *out)
{
    unsigned long before = maria->first_thread > 0 ? maria->first_thread - 1 : 0;
    tpc_buf_adds(out, "SELECT 1 FROM information_schema.PROCESSLIST WHERE ");
    if (thread != 0) {
        tpc_buf_addf(out, "ID = %lu", thread);
    } else { /* before this run, or lost in it */
        tpc_buf_addf(out,
                     "ID <= %lu AND (DB IS NULL OR DB = DATABASE())"
                     " AND USER = SUBSTRING_INDEX(USER(), '@', 1)",
                     before > maria->lost_thread ? before : maria->lost_thread);
    }
    write_ours(maria, out);
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
    tpc_buf_clear(&session->text);
    maria_detach_write(session->maria, detach->thread, &session->text);
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
