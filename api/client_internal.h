/* What the client's files share. `easy` and `multi` are libcurl's handles. */
#ifndef ASSENT_API_CLIENT_INTERNAL_H
#define ASSENT_API_CLIENT_INTERNAL_H

#include "api/client.h"

#include <uv.h>

struct curl_slist;

/* One call under way, with an easy handle that outlives it: setting one up costs more than a
 * request. */
struct client_transfer {
    struct client_transfer *prev, *next;
    struct api_client *client;
    struct api_call *call;
    void *easy;
    struct curl_slist *own_header; /* the call's own, in front of those of all calls */
    struct tpc_buf line;           /* the beginning of one that is not whole */
    bool active;                   /* libcurl has it */
    bool started;                  /* libcurl had it */
    bool received;                 /* a first byte was seen */
    bool head_whole;               /* the empty line after the headers was seen */
    bool cancelled, broken, too_big;
    char error[256]; /* CURL_ERROR_SIZE */
};

/* What libcurl wants to know of a descriptor, and what the epoll set holds. */
struct client_watch {
    uint32_t wanted, registered;
    bool ours; /* opened and closed through our callbacks */
};

struct api_client {
    uv_loop_t *loop;
    void *multi;
    int epoll_fd;
    struct client_watch *watches; /* by descriptor */
    size_t watch_count;
    uv_poll_t poll; /* of epoll_fd */
    uv_timer_t timer;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; /* keeps the loop from waiting while dirty */
    int handles;    /* still open */
    bool dirty;     /* client_run has something to do: */
    bool ready;     /* the epoll set has events */
    bool due;       /* libcurl's timer is due */
    size_t cancel_count;
    bool freeing;
    struct client_transfer *starting, *active, *spares;
    size_t spare_count;
    struct curl_slist *headers, *headers_with_body;
};

/* client.c: client_run is due before the loop may wait again. */
void api_client_kick(struct api_client *client);

/* client_socket.c: libcurl's callbacks, and what they ask for. */
TPC_NODISCARD bool api_client_sockets_init(struct api_client *client);
void api_client_sockets_done(struct api_client *client);
void api_client_sockets_set(struct api_client *client, void *easy);
void api_client_sockets_poll(struct api_client *client);

/* client_transfer.c */
struct client_transfer *api_client_transfer_new(struct api_client *client);
void api_client_transfer_free(struct client_transfer *transfer);
/* Set the easy handle up for its call. */
TPC_NODISCARD bool api_client_transfer_set(struct client_transfer *transfer);
/* The last of a call: tell it and recycle @transfer, which libcurl no longer has. @result is
 * libcurl's; looked at only when the call was not ended from here. */
void api_client_transfer_finish(struct client_transfer *transfer, int result);

#endif
