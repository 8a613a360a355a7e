/* The format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
 *
 *   header, 32 bytes: magic, version, page size, checkpoint number, salt (8), checksum (8)
 *   frames: page number, pages in the database after a commit or else 0, salt (8), checksum (8),
 *           then the page
 *
 * All big-endian; the last bit of the magic says in which order the checksum reads its words. A
 * frame belongs to this round when its salt is the header's, and is valid when its checksum, which
 * goes on from the frame before, is right. */
#include "wal/sqlite_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEADER_SIZE = 32, FRAME_HEADER_SIZE = 24, SALT_SIZE = 8, PAGE_MIN = 512, PAGE_MAX = 65536 };
#define MAGIC UINT32_C(0x377f0682)

struct journal {
    int fd;
    bool big_endian; /* the words of the checksum */
    size_t page_size;
    uint8_t salt[SALT_SIZE];
    uint32_t sum[2];
    uint8_t *frame; /* FRAME_HEADER_SIZE + page_size bytes */
};

static uint32_t load_be(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
           (uint32_t)bytes[3];
}

static uint32_t load_le(const uint8_t *bytes)
{
    return (uint32_t)bytes[3] << 24 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[1] << 8 |
           (uint32_t)bytes[0];
}

static void add_to_sum(struct journal *journal, const uint8_t *data, size_t size)
{
    uint32_t a = journal->sum[0], b = journal->sum[1];

    for (size_t i = 0; i + 8 <= size; i += 8) {
        a += (journal->big_endian ? load_be(data + i) : load_le(data + i)) + b;
        b += (journal->big_endian ? load_be(data + i + 4) : load_le(data + i + 4)) + a;
    }
    journal->sum[0] = a;
    journal->sum[1] = b;
}

static bool sum_is(const struct journal *journal, const uint8_t *stored)
{
    return journal->sum[0] == load_be(stored) && journal->sum[1] == load_be(stored + 4);
}

static bool read_header(struct journal *journal, const uint8_t header[HEADER_SIZE])
{
    const uint32_t magic = load_be(header);

    journal->big_endian = (magic & 1) != 0;
    journal->page_size = load_be(header + 8);
    memcpy(journal->salt, header + 16, SALT_SIZE);
    add_to_sum(journal, header, HEADER_SIZE - SALT_SIZE);
    return (magic & ~UINT32_C(1)) == MAGIC && journal->page_size >= PAGE_MIN &&
           journal->page_size <= PAGE_MAX && (journal->page_size & (journal->page_size - 1)) == 0 &&
           sum_is(journal, header + HEADER_SIZE - SALT_SIZE);
}

/* Read @size bytes of frame @number; false at the end of the file, *ret_rc says when by an error.
 */
static bool read_frame(struct journal *journal, uint64_t number, size_t size, enum tpc_rc *ret_rc)
{
    const uint64_t offset =
        HEADER_SIZE + number * (FRAME_HEADER_SIZE + (uint64_t)journal->page_size);
    const ssize_t count = pread(journal->fd, journal->frame, size, (off_t)offset);

    if (count < 0) {
        *ret_rc = TPC_EIO;
    }
    return count == (ssize_t)size;
}

static bool of_this_round(const struct journal *journal)
{
    return memcmp(journal->frame + 8, journal->salt, SALT_SIZE) == 0;
}

static enum tpc_rc look_at_frames(struct journal *journal, enum wal_journal_state *ret_state,
                                  uint64_t *ret_frame)
{
    const size_t size = FRAME_HEADER_SIZE + journal->page_size;
    enum tpc_rc rc = TPC_OK;
    uint64_t number = 0;
    bool ended = false; /* a transaction behind the first bad frame */

    for (; read_frame(journal, number, size, &rc) && of_this_round(journal); number++) {
        add_to_sum(journal, journal->frame, SALT_SIZE);
        add_to_sum(journal, journal->frame + FRAME_HEADER_SIZE, journal->page_size);
        if (!sum_is(journal, journal->frame + 16)) {
            break;
        }
    }
    *ret_frame = number + 1;
    *ret_state = WAL_JOURNAL_GOOD;
    for (; rc == TPC_OK && read_frame(journal, number, FRAME_HEADER_SIZE, &rc); number++) {
        if (of_this_round(journal)) {
            if (ended) {
                *ret_state = WAL_JOURNAL_HOLE;
                break;
            }
            ended = load_be(journal->frame + 4) != 0;
        }
    }
    return rc;
}

enum tpc_rc wal_journal_look(const char *name, enum wal_journal_state *ret_state,
                             uint64_t *ret_frame, struct tpc_err *reterr)
{
    struct journal journal = {.fd = open(name, O_RDONLY | O_CLOEXEC)};
    uint8_t header[HEADER_SIZE];
    enum tpc_rc rc = TPC_OK;
    ssize_t count;

    *ret_state = WAL_JOURNAL_NONE;
    if (journal.fd < 0 && errno == ENOENT) {
        return TPC_OK;
    }
    count = journal.fd < 0 ? -1 : pread(journal.fd, header, sizeof header, 0);
    if (count < 0) {
        rc = TPC_EIO;
    } else if (count > 0) {
        *ret_state = WAL_JOURNAL_USELESS;
    }
    if (count == sizeof header && read_header(&journal, header)) {
        journal.frame = malloc(FRAME_HEADER_SIZE + journal.page_size);
        rc = journal.frame == NULL ? TPC_ENOMEM : look_at_frames(&journal, ret_state, ret_frame);
        free(journal.frame);
    }
    if (rc != TPC_OK) {
        (void)tpc_fail(reterr, rc, "cannot read %s: %s: mend the access rights or see to the disk",
                       name, strerror(rc == TPC_ENOMEM ? ENOMEM : errno));
    }
    if (journal.fd >= 0) {
        (void)close(journal.fd);
    }
    return rc;
}
