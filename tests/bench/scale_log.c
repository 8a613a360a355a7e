/* Write a log as large as years of work leave it, through the log's own interface:
 *
 *   scale_log DIR coordinator ENDED UNFINISHED   two branches each, "east" and "west"
 *   scale_log DIR participant ENDED UNFINISHED   of a coordinator that nobody knows
 *
 * DIR may hold a log already; then this comes behind it. An unfinished transaction has no end
 * record: decided and not acknowledged at the coordinator. At the participant there are none. */
#include "base/clock.h"
#include "coordinator/coord_record.h"
#include "participant/part_record.h"
#include "wal/wal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP = 1000, PAYLOAD = 160 };

struct writer {
    struct wal_store *store;
    struct wal_entry entries[GROUP];
    size_t count;
};

static _Noreturn void die(const char *what, const struct tpc_err *err)
{
    (void)fprintf(stderr, "scale_log: %s: %s\n", what, err != NULL ? err->text : "no memory");
    exit(1);
}

static void flush(struct writer *writer)
{
    struct tpc_err err = {0};
    if (writer->store->ops->append(writer->store, writer->entries, writer->count, false, &err) !=
        TPC_OK) {
        die("cannot write", &err);
    }
    for (size_t i = 0; i < writer->count; i++) {
        free((void *)(uintptr_t)writer->entries[i].data);
    }
    writer->count = 0;
}

static void add(struct writer *writer, struct tpc_buf *take_record)
{
    size_t size = take_record->size;
    char *data = tpc_buf_take(take_record);
    if (data == NULL) {
        die("cannot write", NULL);
    }
    writer->entries[writer->count++] = (struct wal_entry){.data = data, .size = size};
    if (writer->count == GROUP) {
        flush(writer);
    }
}

static void add_decision(struct writer *writer, enum wal_kind kind, const struct tpc_id *gtid)
{
    static const char *const names[] = {"east", "west"};
    struct tpc_buf bytes = {0};
    struct coord_record record = {.gtid = *gtid,
                                  .id = *gtid,
                                  .commit = true,
                                  .began_us = tpc_clock_wall_us(),
                                  .ended_us = tpc_clock_wall_us(),
                                  .attempts = 1,
                                  .branch_count = 2};
    for (unsigned i = 0; i < 2; i++) {
        record.branches[i] =
            (struct coord_record_branch){.name = names[i], .name_size = 4, .vote = COORD_VOTE_YES};
        memset(&record.branches[i].participant, (int)i + 1, sizeof record.branches[i].participant);
    }
    if (coord_record_write(&bytes, kind, &record) != TPC_OK) {
        die("cannot write a record", NULL);
    }
    add(writer, &bytes);
}

static void add_branch(struct writer *writer, enum wal_kind kind, const struct tpc_id *gtid)
{
    static const char payload[PAYLOAD] = "of no use to anybody: the branch has ended";
    struct tpc_buf bytes = {0};
    struct part_record record = {.gtid = *gtid,
                                 .coordinator_id = {{1, 2, 3}},
                                 .began_us = tpc_clock_wall_us(),
                                 .at_us = tpc_clock_wall_us()};
    if (kind == WAL_PART_PREPARED) {
        record.payload = payload;
        record.payload_size = sizeof payload;
    }
    if (part_record_write(&bytes, kind, &record) != TPC_OK) {
        die("cannot write a record", NULL);
    }
    add(writer, &bytes);
}

static void add_ended(struct writer *writer, bool coordinator, const struct tpc_id *gtid)
{
    if (coordinator) {
        add_decision(writer, WAL_COORD_COMMIT, gtid);
        add_decision(writer, WAL_COORD_END, gtid);
    } else {
        add_branch(writer, WAL_PART_PREPARED, gtid);
        add_branch(writer, WAL_PART_COMMITTED, gtid);
    }
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        (void)fprintf(stderr, "usage: scale_log DIR coordinator|participant ENDED UNFINISHED\n");
        return 2;
    }
    static struct writer writer;
    struct wal_options options = {.directory = argv[1], .role = argv[2]};
    struct tpc_err err = {0};
    struct tpc_id_gen ids = {0};
    bool coordinator = strcmp(argv[2], "coordinator") == 0;
    unsigned long ended = strtoul(argv[3], NULL, 10), unfinished = strtoul(argv[4], NULL, 10);
    if (wal_open(&options, &writer.store, &err) != TPC_OK) {
        die("cannot open the log", &err);
    }
    for (unsigned long i = 0; i < ended + unfinished; i++) {
        struct tpc_id gtid;
        tpc_id_gen_next(&ids, tpc_clock_wall_us() / 1000, &gtid);
        /* The unfinished ones lie among the others, as they would. */
        if (unfinished > 0 && i % ((ended + unfinished) / unfinished) == 0) {
            add_decision(&writer, WAL_COORD_COMMIT, &gtid);
        } else {
            add_ended(&writer, coordinator, &gtid);
        }
    }
    flush(&writer);
    writer.store->ops->close(writer.store);
    return 0;
}
