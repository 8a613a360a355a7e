/* Talking to the coordinator and, through its registry, to participants; complaints about what
 * goes wrong are said here, on stderr. */
#ifndef ASSENT_CLI_REMOTE_H
#define ASSENT_CLI_REMOTE_H

#include "api/json.h"
#include "cli/cli.h"
#include "cli/http.h"

struct cli_remote {
    const struct cli_call *call;
    struct cli_http *http;
};

enum cli_exit cli_remote_init(struct cli_remote *remote, const struct cli_call *call);
void cli_remote_done(struct cli_remote *remote);

/* Whom a request goes to, for the words of a complaint. */
struct cli_peer {
    const char *what; /* "the coordinator", "participant" */
    const char *name; /* "east", NULL */
    const char *url;  /* without the path */
};
struct cli_peer cli_coordinator(const struct cli_remote *remote);

/* Send, and parse the answer. CLI_OK for an answer of any status whose body is JSON, or empty
 * (*ret_json NULL); the caller frees *ret_json. CLI_UNREACHABLE when the peer is not there or does
 * not answer in time: said on stderr unless @quiet. @request->url is the path and query.
 * *ret_sent, where wanted, says whether the request may have arrived all the same. */
enum cli_exit cli_remote_send(struct cli_remote *remote, const struct cli_peer *peer,
                              const struct cli_request *request, int *ret_status,
                              struct api_json **ret_json, bool *ret_sent, bool quiet);

/* GET that has to answer 200: everything else is complained of and is an exit status. */
enum cli_exit cli_remote_get(struct cli_remote *remote, const struct cli_peer *peer,
                             const char *path, struct api_json **ret_json);

/* Say a problem document on stderr; returns CLI_UNREACHABLE for 502 to 504, else CLI_ERROR. */
enum cli_exit cli_complain_problem(const struct cli_peer *peer, int status,
                                   const struct api_json *problem);

/* The registry: calls @visit for each participant until it returns other than CLI_OK. */
enum cli_exit cli_each_participant(struct cli_remote *remote,
                                   enum cli_exit (*visit)(void *arg, const char *name,
                                                          const char *url,
                                                          const struct api_json *entry),
                                   void *arg);

/* Every item of a list that comes in pages. @path has its query already ("?" or "&" is found). */
enum cli_exit cli_each_item(struct cli_remote *remote, const struct cli_peer *peer,
                            const char *path, size_t items_max,
                            enum cli_exit (*visit)(void *arg, const struct api_json *item),
                            void *arg);

/* The participant called @name. CLI_ERROR when the registry has none, with a guess on stderr.
 * @ret_url is at least 512 bytes. */
enum cli_exit cli_find_participant(struct cli_remote *remote, const char *name, char *ret_url);

#endif
