/* Where the server listens. */
#include "api/server_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static enum tpc_rc bad_address(const char *text, struct tpc_err *reterr)
{
    return tpc_fail(reterr, TPC_EINVAL,
                    "listen address \"%s\" is not ADDRESS:PORT; give a numeric address or "
                    "localhost, such as 127.0.0.1:7400, [::1]:7400 or 127.0.0.1:0",
                    text);
}

static bool parse_port(const char *text, uint16_t *ret_port)
{
    size_t length = strlen(text);
    if (length == 0 || length > 5 || strspn(text, "0123456789") != length) {
        return false;
    }
    unsigned long port = strtoul(text, NULL, 10);
    if (port > UINT16_MAX) {
        return false;
    }
    *ret_port = (uint16_t)port;
    return true;
}

enum tpc_rc api_server_address_parse(const char *text, struct server_address *ret_address,
                                     struct tpc_err *reterr)
{
    char host[INET6_ADDRSTRLEN + 1];
    struct server_address address = {0};
    uint16_t port;
    const char *colon = strrchr(text, ':');

    if (colon == NULL || !parse_port(colon + 1, &port)) {
        return bad_address(text, reterr);
    }
    bool bracketed = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
    size_t length = (size_t)(colon - text) - (bracketed ? 2 : 0);
    if (length == 0 || length >= sizeof(host)) {
        return bad_address(text, reterr);
    }
    memcpy(host, text + (bracketed ? 1 : 0), length);
    host[length] = '\0';

    if (bracketed) {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons(port);
        address.size = sizeof(address.v6);
        if (inet_pton(AF_INET6, host, &address.v6.sin6_addr) != 1) {
            return bad_address(text, reterr);
        }
    } else {
        const char *numeric = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons(port);
        address.size = sizeof(address.v4);
        if (inet_pton(AF_INET, numeric, &address.v4.sin_addr) != 1) {
            return bad_address(text, reterr);
        }
    }
    *ret_address = address;
    return TPC_OK;
}

enum tpc_rc api_listen_check(const char *listen, const char *admin_listen, struct tpc_err *reterr)
{
    struct server_address address;
    enum tpc_rc rc = api_server_address_parse(listen, &address, reterr);
    if (rc == TPC_OK && admin_listen != NULL) {
        rc = api_server_address_parse(admin_listen, &address, reterr);
    }
    return rc;
}

static enum tpc_rc cannot_listen(const char *text, int error, struct tpc_err *reterr)
{
    switch (error) {
    case EADDRINUSE:
        return tpc_fail(reterr, TPC_EBUSY,
                        "address %s is in use; stop the other process or choose another with "
                        "--listen or --admin-listen",
                        text);
    case EADDRNOTAVAIL:
        return tpc_fail(reterr, TPC_EINVAL,
                        "address %s is not one of this machine; choose another with --listen "
                        "or --admin-listen",
                        text);
    case EACCES:
        return tpc_fail(reterr, TPC_EINVAL,
                        "no permission to listen on %s; choose a port above 1023 with --listen "
                        "or --admin-listen",
                        text);
    default:
        return tpc_fail(reterr, TPC_EIO, "cannot listen on %s: %s", text, strerror(error));
    }
}

static bool bound_url(int fd, char *url, size_t url_size)
{
    struct server_address address = {0};
    char host[INET6_ADDRSTRLEN];

    address.size = sizeof(address.v6);
    if (getsockname(fd, &address.any, &address.size) != 0) {
        return false;
    }
    if (address.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &address.v6.sin6_addr, host, sizeof(host));
        snprintf(url, url_size, "http://[%s]:%u", host, ntohs(address.v6.sin6_port));
    } else {
        inet_ntop(AF_INET, &address.v4.sin_addr, host, sizeof(host));
        snprintf(url, url_size, "http://%s:%u", host, ntohs(address.v4.sin_port));
    }
    return true;
}

enum tpc_rc api_server_listen(const char *text, char *url, size_t url_size, int *ret_fd,
                              struct tpc_err *reterr)
{
    struct server_address address = {0};
    enum tpc_rc rc = api_server_address_parse(text, &address, reterr);
    if (rc != TPC_OK) {
        return rc;
    }
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return cannot_listen(text, errno, reterr);
    }
    int on = 1;
    /* Connections of a former process in TIME_WAIT must not keep a restart from its port. */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address.any.sa_family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    if (bind(fd, &address.any, address.size) != 0 || listen(fd, SOMAXCONN) != 0 ||
        !bound_url(fd, url, url_size)) {
        rc = cannot_listen(text, errno, reterr);
        close(fd);
        return rc;
    }
    *ret_fd = fd;
    return TPC_OK;
}
