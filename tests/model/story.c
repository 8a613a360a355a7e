/* What happened, in the words of the log. */
#include "tests/model/world.h"

static FILE *story_file;
static const struct model_names *story_names;
static _Thread_local bool story_hushed;

void model_tell(FILE *story, const struct model_names *names)
{
    story_file = story;
    story_names = names;
}

void model_hush(bool hushed)
{
    story_hushed = hushed;
}

FILE *model_story(void)
{
    return story_hushed ? NULL : story_file;
}

char model_name(unsigned part)
{
    return (char)('A' + (story_names != NULL ? story_names->parts[part] : part));
}

unsigned model_txn_name(unsigned txn)
{
    return 1u + (story_names != NULL ? story_names->txns[txn] : txn);
}

static const char *said_name(unsigned said)
{
    switch (said) {
    case SAID_YES:
        return "yes";
    case SAID_YES_OLD:
        return "yes (of work that was done again, or lost, since)";
    case SAID_NO:
        return "no";
    case SAID_READ_ONLY:
        return "read_only";
    case SAID_DONE:
        return "committed (its vote)";
    case SAID_COMMITTED:
        return "committed";
    case SAID_ABORTED:
        return "aborted";
    default:
        return "unknown";
    }
}

static const char *message_name(unsigned said)
{
    switch (said) {
    case SAID_PREPARE:
        return "prepare";
    case SAID_PREPARE_1:
        return "prepare (for its first log)";
    case SAID_PREPARE_2:
        return "prepare (for its second log)";
    case SAID_COMMIT_1:
        return "commit (for its first log)";
    case SAID_COMMIT_2:
        return "commit (for its second log)";
    default:
        return "abort";
    }
}

static const char *job_end_name(unsigned end)
{
    static const char *const names[] = {
        [JOB_READY] = "the work is done and can be redone",
        [JOB_READ_ONLY] = "the work only read",
        [JOB_REFUSED] = "the work is refused",
        [JOB_DONE] = "done",
        [JOB_RETRY] = "not now",
        [JOB_CONFLICT] = "the prepared change no longer applies",
        [JOB_LOST] = "the session was lost",
    };
    return names[end];
}

static void tell_coord_move(const struct model_move *move, FILE *out)
{
    char part = model_name(move->part);
    unsigned txn = model_txn_name(move->txn);
    switch (move->type) {
    case MOVE_SUBMIT:
        fprintf(out, "a client submits T%u\n", txn);
        break;
    case MOVE_SEND:
        fprintf(out, "message prepare T%u leaves for %c\n", txn, part);
        break;
    case MOVE_SEND_REFUSED:
        fprintf(out, "message prepare T%u finds nobody at %c\n", txn, part);
        break;
    case MOVE_HEAR:
        fprintf(out, "message %s of T%u from %c%s reaches the coordinator\n", said_name(move->arg),
                txn, part, move->arg2 == 2 ? " (its second log)" : "");
        break;
    case MOVE_LOST:
        fprintf(out, "the answer of %c to a %s of T%u is lost\n", part,
                move->arg == C_OUT_PREPARE ? "prepare" : "decision", txn);
        break;
    case MOVE_UNDELIVERED:
        fprintf(out, "a decision of T%u finds nobody at %c\n", txn, part);
        break;
    case MOVE_TXN_TIMER:
        fprintf(out, "timer of T%u at the coordinator\n", txn);
        break;
    case MOVE_CLIENT_ABORT:
        fprintf(out, "a client aborts T%u\n", txn);
        break;
    case MOVE_RETRY:
        fprintf(out, "timer of T%u at the coordinator: tell %c again\n", txn, part);
        break;
    case MOVE_COORD_FORCED:
        fprintf(out, "force is done at the coordinator\n");
        break;
    case MOVE_COORD_ERASE:
        fprintf(out, "retention of T%u is over at the coordinator\n", txn);
        break;
    case MOVE_COORD_CRASH:
        fprintf(out, "crash of the coordinator%s; %u unforced records survive\n",
                move->arg2 != 0 ? ", a force having failed" : "", move->arg);
        break;
    default:
        fprintf(out, "start of the coordinator\n");
        break;
    }
}

static void tell_part_move(const struct model_move *move, FILE *out)
{
    char part = model_name(move->part);
    unsigned txn = model_txn_name(move->txn);
    switch (move->type) {
    case MOVE_DELIVER:
        fprintf(out, "message %s T%u reaches %c\n", message_name(move->arg), txn, part);
        break;
    case MOVE_JOB_DONE:
        fprintf(out, "database of %c, T%u: %s\n", part, txn, job_end_name(move->arg));
        break;
    case MOVE_PART_FORCED:
        fprintf(out, "force is done at %c\n", part);
        break;
    case MOVE_PART_TIMER:
        fprintf(out, "timer of T%u at %c\n", txn, part);
        break;
    case MOVE_ASK:
        fprintf(out, "%c asks the coordinator about T%u\n", part, txn);
        break;
    case MOVE_ASK_LOST:
        fprintf(out, "the question of %c about T%u is not answered\n", part, txn);
        break;
    case MOVE_OPERATOR:
        fprintf(out, "operator at %c, T%u: %s\n", part, txn,
                part_event_name((enum part_event_type)move->arg));
        break;
    case MOVE_DROP:
        fprintf(out, "%c drops T%u from memory\n", part, txn);
        break;
    case MOVE_LEARN:
        fprintf(out, "%c hears that the coordinator has forgotten T%u\n", part, txn);
        break;
    case MOVE_PART_ERASE:
        fprintf(out, "retention of T%u is over at %c\n", txn, part);
        break;
    case MOVE_UNMARK:
        fprintf(out, "database of %c forgets its proof of T%u\n", part, txn);
        break;
    case MOVE_LATE:
    case MOVE_LATE_FAILS:
        fprintf(out, "server of %c, T%u: a %s that nobody waits for %s\n", part, txn,
                move->arg == DB_LATE ? "PREPARE" : "COMMIT PREPARED",
                move->type == MOVE_LATE ? "is carried out" : "is given up");
        break;
    case MOVE_LIST:
        fprintf(out, "server of %c lists T%u as prepared\n", part, txn);
        break;
    case MOVE_COMPARE:
        fprintf(out, "%c compares the list with what it knows of T%u\n", part, txn);
        break;
    case MOVE_MEDDLE:
        fprintf(out, "somebody %s at the server of %c what T%u has prepared\n",
                move->arg != 0 ? "commits" : "rolls back", part, txn);
        break;
    case MOVE_PART_CRASH:
        fprintf(out, "crash of %c%s; %u unforced records survive%s%s\n", part,
                (move->arg2 & 1) != 0 ? ", a force having failed" : "", move->arg,
                (move->arg2 & 6) != 0 ? "; its database had just done what it was told" : "",
                (move->arg2 & MODEL_LOSES_LOG) != 0 ? "; its log is lost" : "");
        break;
    default:
        fprintf(out, "start of %c\n", part);
        break;
    }
}

void model_tell_move(const struct model_config *config, const struct model_move *move)
{
    (void)config;
    if (move->type <= MOVE_COORD_START) {
        tell_coord_move(move, story_file);
    } else {
        tell_part_move(move, story_file);
    }
}

void model_tell_also(const struct model_config *config, const struct model_move *move)
{
    if (model_story() != NULL) {
        fprintf(story_file, "      and ");
        model_tell_move(config, move);
    }
}
