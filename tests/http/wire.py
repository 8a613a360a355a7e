"""HTTP down to the bytes: what no library would send, and the whole of what comes back."""

import json
import socket
import time
import urllib.parse

BOUND_S = 30


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers  # names in lower case
        self.body = body

    def json(self):
        return json.loads(self.body.decode("utf-8"), object_pairs_hook=unique)

    def __repr__(self):
        return "HTTP %d %r %r" % (self.status, self.headers, self.body[:2000])


def unique(pairs):
    """A JSON object, refused when a member stands in it twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member twice among " + " ".join(name for name, _ in pairs))
    return found


class Connection:
    """One connection; `send` takes bytes as they are, `receive` gives the next whole answer, or None
    when the other side has ended the connection."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.host = parts.netloc
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=BOUND_S)
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """What the other side does not want to read any more is not sent."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def end(self):
        """No more will be sent."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def more(self):
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self.rest += data
        return bool(data)

    def until(self, mark):
        while mark not in self.rest:
            if not self.more():
                return None
        head, _, self.rest = self.rest.partition(mark)
        return head

    def exactly(self, size):
        while len(self.rest) < size:
            if not self.more():
                raise AssertionError("cut short: %r" % self.rest[:2000])
        data, self.rest = self.rest[:size], self.rest[size:]
        return data

    def chunks(self):
        body = b""
        while True:
            size = int(self.until(b"\r\n"), 16)
            body += self.exactly(size)
            self.exactly(2)
            if size == 0:
                return body

    def receive(self, method="GET"):
        head = self.until(b"\r\n\r\n")
        if head is None:
            if self.rest:
                raise AssertionError("no answer of HTTP: %r" % self.rest[:2000])
            return None
        first, *lines = head.split(b"\r\n")
        version, status = first.split(b" ")[:2]
        assert version == b"HTTP/1.1", first
        headers = {}
        for line in lines:
            name, _, value = line.decode("latin-1").partition(":")
            assert name.lower() not in headers, head
            headers[name.lower()] = value.strip()
        body = b""
        if int(status) in (204, 304) or int(status) < 200 or method == "HEAD":
            pass
        elif headers.get("transfer-encoding") == "chunked":
            body = self.chunks()
        else:
            body = self.exactly(int(headers["content-length"]))
        return Answer(int(status), headers, body)

    def ask(self, method, target, body=None, headers=None):
        """A sound request but for what the caller gives."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body, ensure_ascii=False).encode("utf-8")
        head = ["%s %s HTTP/1.1" % (method, target), "Host: " + self.host]
        head += ["%s: %s" % pair for pair in (headers or {}).items()]
        if body is not None:
            head.append("Content-Length: %d" % len(body))
        self.send("\r\n".join(head + ["", ""]).encode("latin-1") + (body or b""))
        return self.receive(method)


def ask(url, method, target, body=None, headers=None):
    with Connection(url) as connection:
        return connection.ask(method, target, body, headers)


def raw(url, data, end=False):
    """The first answer to these bytes."""
    with Connection(url) as connection:
        connection.send(data)
        if end:
            connection.end()
        return connection.receive()


def metrics(url):
    """The samples by name and labels."""
    samples = {}
    for line in ask(url, "GET", "/metrics").body.decode().splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            samples[name] = float(value)
    return samples


def until(condition, what):
    """Ask again until it is so; what the test waits for comes by itself."""
    end = time.monotonic() + BOUND_S
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError("never: " + what)
        time.sleep(0.01)
