/* Requests to handlers by a table of methods and patterns. */
#ifndef ASSENT_API_ROUTER_H
#define ASSENT_API_ROUTER_H

#include "api/server.h"

#define API_ROUTE_ARGS 2

struct api_route {
    const char *method;
    const char *pattern; /* "/v1/transactions/{id}/commit" */
    /* @args: what stood for the pattern's {…}, in order, percent-decoded, never empty; ""
     * beyond what the pattern has. Valid during the call. */
    void (*handle)(void *arg, struct api_request *request, const char *const args[API_ROUTE_ARGS]);
};

/* Answers 404 for an unknown path, 405 with Allow for a known one with another method, and HEAD
 * where GET exists; both are problem documents. @routes ends with method == NULL. */
void api_route(const struct api_route *routes, void *arg, struct api_request *request);

#endif
