#include "participant/maria_url.h"

#include "base/memory.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int digit(char c)
{
    return isdigit((unsigned char)c)    ? c - '0'
           : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
                                        : -1;
}

/* A copy of what is between the two, decoded. NULL: a '%' that encodes nothing. */
static char *decode(const char *from, const char *to)
{
    char *out = tpc_must_malloc((size_t)(to - from) + 1);
    size_t used = 0;
    while (from < to) {
        int high = *from == '%' && to - from > 2 ? digit(from[1]) : -1;
        int low = high >= 0 ? digit(from[2]) : -1;
        if (*from != '%') {
            out[used++] = *from++;
        } else if (low >= 0 && (high != 0 || low != 0)) {
            out[used++] = (char)(16 * high + low);
            from += 3;
        } else {
            free(out);
            return NULL;
        }
    }
    out[used] = '\0';
    return out;
}

static enum tpc_rc refuse(const char *why, struct tpc_err *reterr)
{
    return tpc_fail(reterr, TPC_EINVAL,
                    "the address %s: give it as mariadb://USER@HOST:PORT/DATABASE, with %%XX for "
                    "characters that mean something in addresses",
                    why);
}

/* What stands before the first '/': USER:PASSWORD@HOST:PORT. */
static enum tpc_rc parse_authority(const char *from, const char *to, struct maria_url *url,
                                   struct tpc_err *reterr)
{
    const char *at = to, *colon, *end;
    while (at > from && *at != '@') {
        at--;
    }
    if (at > from) {
        colon = memchr(from, ':', (size_t)(at - from));
        url->user = decode(from, colon != NULL ? colon : at);
        url->password = colon != NULL ? decode(colon + 1, at) : NULL;
        if (url->user == NULL || (colon != NULL && url->password == NULL)) {
            return refuse("has a '%' in the user or the password that encodes nothing", reterr);
        }
        from = at + 1;
    }
    /* An IPv6 address is in brackets, for it has colons of its own. */
    bool brackets = from < to && *from == '[';
    end = brackets ? memchr(from, ']', (size_t)(to - from)) : NULL;
    if (brackets && end == NULL) {
        return refuse("has a '[' without ']'", reterr);
    }
    const char *rest = brackets ? end + 1 : from;
    colon = memchr(rest, ':', (size_t)(to - rest));
    if (colon != NULL) {
        char *after;
        unsigned long port = strtoul(colon + 1, &after, 10);
        if (after != to || !isdigit((unsigned char)colon[1]) || port < 1 || port > 65535) {
            return refuse("has a port that is none", reterr);
        }
        url->port = (unsigned)port;
    }
    from += brackets;
    end = brackets ? end : colon != NULL ? colon : to;
    url->host = end > from ? decode(from, end) : NULL;
    return end > from && url->host == NULL ? refuse("has a '%' that encodes nothing", reterr)
                                           : TPC_OK;
}

static bool is(const char *from, const char *to, const char *name)
{
    return strlen(name) == (size_t)(to - from) && strncmp(from, name, strlen(name)) == 0;
}

static enum tpc_rc parse_parameter(const char *from, const char *to, struct maria_url *url,
                                   struct tpc_err *reterr)
{
    const char *equals = memchr(from, '=', (size_t)(to - from));
    const char *end = equals != NULL ? equals : to;
    char **into = is(from, end, "socket")   ? &url->socket
                  : is(from, end, "ssl_ca") ? &url->ssl_ca
                                            : NULL;
    char *value = equals != NULL ? decode(equals + 1, to) : NULL;
    if (value == NULL || *value == '\0') {
        free(value);
        return refuse("has a parameter without a value after its '?'", reterr);
    }
    if (into != NULL) {
        free(*into);
        *into = value;
        return TPC_OK;
    }
    bool on = strcmp(value, "on") == 0, off = strcmp(value, "off") == 0;
    free(value);
    if (!is(from, end, "ssl_verify") || (!on && !off)) {
        return refuse("has a parameter that is not known: there are socket=PATH, ssl_ca=FILE and "
                      "ssl_verify=on",
                      reterr);
    }
    url->ssl_verify = on;
    return TPC_OK;
}

static enum tpc_rc parse(const char *text, struct maria_url *url, struct tpc_err *reterr)
{
    const char *from = strstr(text, "://");
    if (from == NULL) {
        return refuse("has no \"//\"", reterr);
    }
    from += 3;
    const char *question = strchr(from, '?');
    const char *end = question != NULL ? question : from + strlen(from);
    const char *slash = memchr(from, '/', (size_t)(end - from));
    enum tpc_rc rc = parse_authority(from, slash != NULL ? slash : end, url, reterr);
    if (rc == TPC_OK && (slash == NULL || slash + 1 == end)) {
        rc = refuse("names no database", reterr);
    }
    if (rc == TPC_OK && (url->database = decode(slash + 1, end)) == NULL) {
        rc = refuse("has a '%' in the database that encodes nothing", reterr);
    }
    while (rc == TPC_OK && question != NULL) {
        const char *next = strchr(question + 1, '&');
        rc = parse_parameter(question + 1, next != NULL ? next : question + strlen(question), url,
                             reterr);
        question = next;
    }
    return rc;
}

enum tpc_rc maria_url_parse(const char *text, struct maria_url *ret_url, struct tpc_err *reterr)
{
    *ret_url = (struct maria_url){0};
    enum tpc_rc rc = parse(text, ret_url, reterr);
    if (rc != TPC_OK) {
        maria_url_done(ret_url);
    }
    return rc;
}

void maria_url_done(struct maria_url *url)
{
    free(url->user);
    free(url->password);
    free(url->host);
    free(url->database);
    free(url->socket);
    free(url->ssl_ca);
    *url = (struct maria_url){0};
}
