/* What the code under test writes on stdout or stderr. */
#ifndef ASSENT_TESTS_UNIT_BASE_CAPTURE_H
#define ASSENT_TESTS_UNIT_BASE_CAPTURE_H

struct capture {
    int fd;    /* STDOUT_FILENO or STDERR_FILENO */
    int saved; /* what it was before */
    int file;
};

void capture_begin(struct capture *capture, int fd);
/* Restores the descriptor and returns what was written (caller frees). */
char *capture_end(struct capture *capture);

#endif
