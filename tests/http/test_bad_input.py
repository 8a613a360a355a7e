"""usage: test_bad_input.py [TEST…] DIRECTORY; what the coordinator says to what it cannot take.

Each refusal is a problem document with a status, a type, the member that is wrong and a sentence
on what to do; nothing begins, and a good transaction goes through afterwards."""

import json
import random
import sys

import checks
import wire

TRANSACTIONS = "/v1/transactions"
MIB = 1024 * 1024
# Each member of a submission, and the types that it may have.
MEMBERS = {
    "label": ["a string"],
    "timeout_ms": ["a number"],
    "ack": ["a string"],
    "isolation": ["a string"],
    "open": ["a boolean"],
    "branches": ["an array"],
    "branches[0]": ["an object"],
    "branches[1].participant": ["a string"],
    "branches[1].statements": ["an array"],
    "branches[1].statements[0]": ["an object"],
    "branches[1].statements[0].sql": ["a string"],
    "branches[1].statements[0].params": ["an array"],
    "branches[0].statements[0].params[1]": ["a string", "a number", "a boolean", "null",
                                            "an object"],
    "branches[0].statements[0].params[1].int64": ["a string"],
    "branches[0].statements[0].params[1].blob": ["a string"],
    "branches[0].statements[0].expect": ["an object"],
    "branches[0].statements[0].expect.rows": ["a number", "an object"],
    "branches[0].statements[0].expect.rows.min": ["a number"],
    "branches[0].statements[0].expect.rows.max": ["a number"],
}


class Submissions(checks.Case):
    def submit(self, body, headers=None):
        return self.connection.ask("POST", TRANSACTIONS, body, headers)

    def setUp(self):
        super().setUp()
        self.connection = wire.Connection(self.url)
        self.addCleanup(self.connection.__exit__)
        nothing = self.nothing_begins()
        nothing.__enter__()
        # Afterwards, so that a failure in the test itself is told first.
        self.addCleanup(lambda: nothing.__exit__(None))

    def malformed(self, body, words=None):
        return self.problem(self.submit(body), 400, "malformed", words=words)

    def invalid(self, document, field, words=None):
        return self.problem(self.submit(document), 422, "invalid", field, words)

    def param(self, value, field="", words=None):
        path = "branches[0].statements[0].params[0]"
        return self.invalid(checks.put(checks.transfer(), path, value), path + field, words)

    # ---- No JSON ----

    def test_truncated_anywhere(self):
        whole = json.dumps(checks.transfer()).encode()
        for size in range(len(whole)):
            self.malformed(whole[:size])

    def test_malformed(self):
        for body, words in (
                (b"", "expected a value"), (b" ", "expected a value"), (b"nonsense", "at byte 0"),
                (b"{", "found the end"), (b"}", "at byte 0"), (b"{]", "at byte 1"),
                (b"{}{}", "after the end"), (b"{} x", "after the end"), (b"[1,]", "at byte 3"),
                (b"{\"a\":1,}", "member name"), (b"{'a':1}", "double quotes"),
                (b"{a:1}", "double quotes"), (b"{\"a\" 1}", "':'"), (b"{\"a\":}", "a value"),
                (b"{\"a\":NaN}", "a value"), (b"{\"a\":Infinity}", "a value"),
                (b"{\"a\":-}", "a digit"), (b"{\"a\":+1}", "a value"), (b"{\"a\":.5}", "a value"),
                (b"{\"a\":1.}", "a digit"), (b"{\"a\":01}", "zero"), (b"{\"a\":0x10}", "'}'"),
                (b"{\"a\":1e}", "a digit"), (b"{\"a\":tru}", None), (b"{\"a\":True}", None),
                (b"// no\n{}", "at byte 0"), (b"{\"a\":\"\n\"}", "must be escaped"),
                (b"{\"a\":\"\\x41\"}", "backslash"), (b"{\"a\":\"\\u12\"}", "hexadecimal"),
                (b"{\"label\":\"a\",\"label\":\"b\"}", "label"),
                (b"\xef\xbb\xbf{}", "at byte 0"), ("{}".encode("utf-16"), "at byte 0")):
            with self.subTest(body=body):
                self.malformed(body, words)

    def test_nested_too_deep(self):
        for body in (b"[" * 100000, b"{\"a\":" * 100000, b"[" * 2 * MIB,
                     b"{\"branches\":" + b"[" * 100 + b"]" * 100 + b"}"):
            self.malformed(body, "nested deeper than 64 levels")

    def test_nested_where_nothing_may_be(self):
        value = "x"
        for _ in range(50):
            value = {"blob": value}
        self.param(value, ".blob", "must be a string")
        self.param([[[["x"]]]], words="not an array")

    def test_binary(self):
        generator = random.Random(7)
        for size in (1, 10, 1000, 100000):
            self.malformed(generator.randbytes(size))
        self.malformed(bytes(range(256)))
        self.malformed(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03")

    def test_nul(self):
        whole = json.dumps(checks.transfer()).encode()
        self.malformed(b"\0", "NUL")
        self.malformed(whole + b"\0", "end of the document")
        self.malformed(b"\0" * 100000, "NUL")
        self.malformed(whole.replace(b"alice", b"al\0ce"), "escaped")
        self.malformed(whole.replace(b"alice", b"al\\u0000ce"), "NUL")
        self.malformed(whole.replace(b"\"label\"", b"\"la\\u0000bel\""), "NUL")

    def test_bad_utf8(self):
        whole = json.dumps(checks.transfer()).encode()
        for bad in (b"\xff", b"\xfe", b"\x80", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf",
                    b"\xe2\x82", b"\xed\xa0\x80", b"\xf0\x80\x80\xaf", b"\xf4\x90\x80\x80",
                    b"\xf8\x88\x80\x80\x80", b"\xc3"):
            with self.subTest(bad=bad):
                self.malformed(whole.replace(b"alice", b"al" + bad + b"ce"), "valid UTF-8")
        for bad in (rb"\ud800", rb"\udc00", rb"\ud800\u0041", rb"\ud800x", rb"\udc00\ud800"):
            with self.subTest(bad=bad):
                self.malformed(whole.replace(b"alice", bad), "surrogate")

    def test_mutated(self):
        """One byte after another made another: understood or not, it is never harmful."""
        generator = random.Random(11)
        whole = json.dumps(checks.put(checks.transfer(), "branches[0].participant", "nobody")).encode()
        for _ in range(600):
            body = bytearray(whole)
            for _ in range(generator.randint(1, 4)):
                body[generator.randrange(len(body))] = generator.randrange(256)
            answer = self.submit(bytes(body))
            self.assertIn(answer.status, (400, 422), (bytes(body), answer))
            self.problem(answer, answer.status, "malformed" if answer.status == 400 else "invalid",
                         answer.json().get("field"))

    # ---- Size ----

    def oversized(self, data):
        answer = wire.raw(self.url, data)
        self.problem(answer, 413, "too-large", words="4194304 bytes")
        self.assertEqual(answer.headers.get("connection"), "close")

    def test_oversized(self):
        head = "POST /v1/transactions HTTP/1.1\r\nHost: here\r\n"
        length = (head + "Content-Length: %d\r\n\r\n")
        self.oversized((length % (4 * MIB + 1)).encode())
        self.oversized((length % (4 * MIB + 1)).encode() + b"x" * (4 * MIB + 1))
        self.oversized((length % 2**62).encode())
        self.oversized((head + "Content-Length: 99999999999999999999999\r\n\r\n").encode())
        self.oversized((head + "Content-Length: 5000000\r\nExpect: 100-continue\r\n\r\n").encode())
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        self.oversized((head + "Transfer-Encoding: chunked\r\n\r\n").encode() + chunk * 65)

    def test_as_large_as_allowed(self):
        self.malformed(b" " * (4 * MIB), "expected a value")

    # ---- Members ----

    def test_wrong_types_at_every_level(self):
        for path, allowed in MEMBERS.items():
            for name, value in checks.OTHERS.items():
                if name not in allowed:
                    with self.subTest(path=path, type=name):
                        self.invalid(checks.put(checks.transfer(), path, value), path, "must be")

    def test_no_object_at_the_top(self):
        for value in ([], "text", 7, True, None, [checks.transfer()]):
            self.invalid(json.dumps(value).encode(), None, "must be an object")

    def test_required(self):
        for path in ("branches", "branches[0].participant", "branches[0].statements",
                     "branches[0].statements[0].sql", "branches[0].statements[0].expect.rows"):
            document = checks.transfer()
            *way, last = checks.steps(path)
            at = document
            for step in way:
                at = at[step]
            del at[last]
            with self.subTest(path=path):
                self.invalid(document, path, "is required")

    def test_unknown_members(self):
        for path, near in (("lable", "label"), ("branches[1].partcipant", "participant"),
                           ("branches[0].statements[0].parms", "params"),
                           ("branches[0].statements[0].expect.row", "rows"),
                           ("branches[0].statements[0].expect.rows.mn", "min"),
                           ("branches[0].statements[0].params[0].int46", "int64"),
                           ("something else entirely", None), ("", None), ("BRANCHES", None)):
            document = checks.transfer()
            if ".rows." in path:
                document = checks.put(document, "branches[0].statements[0].expect.rows", {"min": 1})
            if "int46" in path:
                document = checks.put(document, "branches[0].statements[0].params[0]", {})
            with self.subTest(path=path):
                found = self.invalid(checks.put(document, path, 1) if path else dict(document, **{"": 1}),
                                     path or None, "is no known member")
                if near:
                    self.assertIn('did you mean "%s"?' % near, found["detail"])

    def test_long_and_odd_member_names(self):
        for name in ("x" * 100000, "\u2603" * 5000, "\"\\\n\t", "a.b[0]"):
            answer = self.submit(dict(checks.transfer(), **{name: 1}))
            self.problem(answer, 422, "invalid", answer.json()["field"])
            self.assertTrue(name.startswith(answer.json()["field"].rstrip("\ufffd")))
            self.assertLess(len(answer.body), 4096)

    def test_values_out_of_range(self):
        at = "branches[0].statements[0]."
        for path, value in (
                ("timeout_ms", 0), ("timeout_ms", -1), ("timeout_ms", 1.5),
                ("timeout_ms", 3600001), ("timeout_ms", 2**53 + 1), ("label", "x" * 257),
                ("ack", ""), ("ack", "Applied"), ("ack", "x" * 100000),
                ("isolation", "snapshot"),
                ("branches", []), ("branches", [checks.transfer()["branches"][0]] * 65),
                ("branches[0].participant", ""), ("branches[0].participant", "-x"),
                ("branches[0].participant", "a/b"), ("branches[0].participant", "x" * 65),
                ("branches[0].participant", "\u00e9st"), ("branches[0].statements", []),
                ("branches[0].statements", [{"sql": "SELECT 1"}] * 1001),
                (at + "sql", ""), (at + "sql", "x" * (MIB + 1)), (at + "params", [1] * 32767),
                (at + "expect.rows", -1), (at + "expect.rows", 1.5), (at + "expect.rows", 2**53),
                (at + "expect.rows", {}), (at + "expect.rows", {"min": 2, "max": 1}),
                (at + "expect.rows.min", -1)):
            document = checks.transfer()
            if path.endswith(".min"):
                document = checks.put(document, at + "expect.rows", {"max": 1})
            with self.subTest(path=path, value=str(value)[:60]):
                self.invalid(checks.put(document, path, value), path)

    def test_numbers_that_a_double_cannot_hold(self):
        for value in (b"9007199254740993", b"-9007199254740993", b"9007199254740992",
                      b"123456789012345678901234567890"):
            body = json.dumps(checks.transfer(77777)).encode().replace(b"77777", value, 1)
            self.problem(self.submit(body), 422, "invalid", "branches[0].statements[0].params[0]",
                         "{\"int64\": \"\u2026\"}")
        for value in (b"1e999", b"-1e999", b"1.8e308"):
            body = json.dumps(checks.transfer(77777)).encode().replace(b"77777", value, 1)
            self.problem(self.submit(body), 422, "invalid", "branches[0].statements[0].params[0]",
                         "a double cannot hold")
        body = json.dumps(checks.transfer(77777)).encode().replace(b"77777", b"1" * 64)
        self.problem(self.submit(body), 400, "malformed", words="63 characters")

    def test_typed_parameters(self):
        for text in ("", "-", "9223372036854775808", "-9223372036854775809", "1.5", "1e3", "+1",
                     " 1", "1 ", "01", "-0", "0x10", "\u0661", "9" * 100000):
            self.param({"int64": text}, ".int64", "a decimal integer")
        for text in ("=", "===", "A", "AA", "AAA", "AA==A", "AB==", "A-__", "AAAA\n", "AA=A",
                     "\u00e9\u00e9"):
            self.param({"blob": text}, ".blob", "base64")
        self.param({}, words="one member")
        self.param({"int64": "1", "blob": ""}, words="one member")

    # ---- Participants ----

    def test_unknown_participant(self):
        for name in ("north", "East", "east.", "x" * 64):
            self.invalid(checks.put(checks.transfer(), "branches[1].participant", name),
                         "branches[1].participant", "PUT /v1/participants/")

    def test_the_same_participant_twice(self):
        self.invalid(checks.put(checks.transfer(), "branches[1].participant", "east"),
                     "branches[1].participant", "branches[0] already")

    # ---- Headers ----

    def test_bad_keys(self):
        for key in ("", "\"\"", "x" * 256, "\"" + "x" * 256 + "\"", "a\"b", "\"a", "a\\b",
                    "caf\u00e9"):
            answer = self.submit(checks.transfer(), {"Idempotency-Key": key})
            self.problem(answer, 422, "invalid", "Idempotency-Key", "1 to 255 printable")

    def test_bad_waits(self):
        for wait in ("wait=-1", "wait=x", "wait=", "wait=86401", "wait=99999999999999999999999",
                     "wait=5x", "wait=1.5"):
            answer = self.submit(checks.transfer(), {"Prefer": wait})
            self.problem(answer, 422, "invalid", "Prefer", "whole seconds")


class Keys(checks.Case):
    def test_a_key_used_for_another_body(self):
        key = {"Idempotency-Key": "\"order-17\""}
        first = wire.ask(self.url, "POST", TRANSACTIONS, checks.transfer(), key)
        self.assertEqual(first.status, 201)
        with self.nothing_begins():
            for body in (checks.transfer(2), dict(checks.transfer(), label="other")):
                again = wire.ask(self.url, "POST", TRANSACTIONS, body, key)
                self.problem(again, 422, "key-reused", "Idempotency-Key", "another key")
        again = wire.ask(self.url, "POST", TRANSACTIONS, checks.transfer(), key)
        self.assertEqual((again.status, again.json()["id"]), (201, first.json()["id"]))
        self.assertEqual(again.headers["idempotent-replayed"], "true")

    def test_a_refused_body_does_not_use_its_key(self):
        key = {"Idempotency-Key": "order-18"}
        for body, status in ((b"{", 400), (b"{}", 422),
                             (checks.put(checks.transfer(), "branches[0].participant", "north"), 422)):
            self.assertEqual(wire.ask(self.url, "POST", TRANSACTIONS, body, key).status, status)
        first = wire.ask(self.url, "POST", TRANSACTIONS, checks.transfer(), key)
        self.assertEqual(first.status, 201)
        self.assertNotIn("idempotent-replayed", first.headers)


class Requests(checks.Case):
    """All but the body of a submission."""

    def ask(self, method, target, body=None, headers=None):
        return wire.ask(self.url, method, target, body, headers)

    def test_unknown_ids(self):
        with self.nothing_begins():
            for text in (checks.NOBODY, "x", "0", "-", "x" * 1500, checks.NOBODY + "0",
                         checks.NOBODY[:-1], checks.NOBODY.replace("-", ""), "%ff%fe", "%2f",
                         "%E2%98%83", "'%20OR%201=1", "..", "%2e%2e", "null", "%25"):
                for method, more in (("GET", ""), ("GET", "?wait=1s"), ("POST", "/abort"),
                                     ("POST", "/commit")):
                    with self.subTest(id=text[:60], method=method, more=more):
                        answer = self.ask(method, "/v1/transactions/" + text + more)
                        found = self.problem(answer, 404, "not-found")
                        self.assertIs(found["known"], False)

    def test_wrong_methods(self):
        with self.nothing_begins():
            for method, path, allow in (
                    ("PUT", TRANSACTIONS, "POST, GET, HEAD"),
                    ("DELETE", TRANSACTIONS, "POST, GET, HEAD"),
                    ("PATCH", TRANSACTIONS, "POST, GET, HEAD"),
                    ("post", TRANSACTIONS, "POST, GET, HEAD"),
                    ("OPTIONS", TRANSACTIONS, "POST, GET, HEAD"),
                    ("POST", "/v1/transactions/" + checks.NOBODY, "GET, HEAD"),
                    ("GET", "/v1/transactions/" + checks.NOBODY + "/abort", "POST"),
                    ("GET", "/v1/transactions/" + checks.NOBODY + "/commit", "POST"),
                    ("POST", "/v1/participants", "GET, HEAD"),
                    ("POST", "/v1/participants/east", "GET, HEAD, PUT, DELETE"),
                    ("GET", "/v1/decisions", "POST"), ("POST", "/livez", "GET, HEAD"),
                    ("DELETE", "/metrics", "GET, HEAD"), ("TRACE", "/readyz", "GET, HEAD"),
                    ("FROBNICATE", "/openapi.json", "GET, HEAD")):
                with self.subTest(method=method, path=path):
                    answer = self.ask(method, path, checks.transfer())
                    self.problem(answer, 405, "method-not-allowed", words=allow)
                    self.assertEqual(answer.headers["allow"], allow)

    def test_wrong_paths(self):
        with self.nothing_begins():
            for path in ("/", "/v1", "/v1/", "/v2/transactions", "/v1/transaction",
                         "/v1/transactions/", "/v1//transactions", "//v1/transactions",
                         "/V1/transactions", "/v1/transactions/%00x".replace("%00", "a/b"),
                         "/v1/transactions/a/abort/b", "/v1/../livez", "/v1/messages",
                         "/v1/branches", "/favicon.ico", "/a/b/c/d/e/f/g/h/i/j",
                         "/" + "x" * 5000, "/" + "/" * 1000, "/v1/transactions%2f"):
                for method in ("GET", "POST"):
                    with self.subTest(method=method, path=path[:60]):
                        self.problem(self.ask(method, path, checks.transfer()
                                              if method == "POST" else None), 404, "not-found")

    def test_bad_escapes(self):
        for target in ("/livez%", "/livez%z", "/livez%zz", "/livez%0", "/v1/transactions/%00",
                       "/livez?%", "/livez?a=%g0", "/livez?a=%00"):
            self.problem(self.ask("GET", target), 400, "malformed", words="percent-escape")
        for target in ("livez", "*", "?x", "ftp://here/livez"):
            self.problem(self.ask("GET", target), 400, "malformed", words="starts with /")

    def test_bad_queries_of_the_list(self):
        for query, field in (
                ("limit=0", "limit"), ("limit=", "limit"), ("limit=x", "limit"),
                ("limit=-1", "limit"), ("limit=1001", "limit"), ("limit=1.0", "limit"),
                ("limit=99999999999999999999999", "limit"), ("limit=%201", "limit"),
                ("state=", "state"), ("state=done", "state"), ("state=COMMITTED", "state"),
                ("cursor=", "cursor"), ("cursor=x", "cursor"), ("cursor=%00ff".replace("%00", "z"),
                                                                "cursor"),
                ("stat=committed", "stat"), ("limit=1&frob=1", "frob"), ("=1", None),
                ("&".join("a%d=1" % i for i in range(200)), "a199"), ("%e2%98%83=1", "\u2603")):
            with self.subTest(query=query[:60]):
                answer = self.ask("GET", TRANSACTIONS + "?" + query)
                self.problem(answer, 422, "invalid", field)
        answer = self.ask("GET", TRANSACTIONS + "?" + "x" * 20000)
        self.problem(answer, 422, "invalid", answer.json()["field"])
        self.assertLess(len(answer.body), 1000)
        answer = self.ask("GET", TRANSACTIONS + "?" + "&".join("a%d=1" % i for i in range(2000)))
        self.problem(answer, 431, "too-large")

    def test_bad_waits(self):
        done = self.ask("POST", TRANSACTIONS, checks.transfer()).json()["id"]
        for wait in ("", "x", "-1s", "301s", "6m", "99999999999999999999999s", "1y", "1s1s"):
            answer = self.ask("GET", "/v1/transactions/" + done + "?wait=" + wait)
            self.problem(answer, 422, "invalid", "wait", "such as 30s")

    def test_ending_what_has_ended(self):
        done = self.ask("POST", TRANSACTIONS, checks.transfer()).json()["id"]
        with self.nothing_begins():
            self.problem(self.ask("POST", "/v1/transactions/%s/abort" % done), 409,
                         "already-decided")
            self.problem(self.ask("POST", "/v1/transactions/%s/commit" % done), 409, "not-active")

    # ---- The registry ----

    def participants(self):
        return [item["name"] for item in self.ask("GET", "/v1/participants").json()["items"]]

    def test_bad_names_of_participants(self):
        for name in ("-x", "x" * 65, "a%2fb", "%20", "%ff", "caf%c3%a9", ".x"):
            with self.subTest(name=name):
                self.problem(self.ask("PUT", "/v1/participants/" + name,
                                      {"url": "http://127.0.0.1:1"}), 422, "invalid", "name",
                             "1 to 64 letters")
        for method in ("GET", "DELETE"):
            self.problem(self.ask(method, "/v1/participants/north"), 404, "not-found")
        self.assertEqual(self.participants(), ["east", "west"])

    def test_bad_participants(self):
        for body, status, field in (
                (b"", 400, None), (b"{", 400, None), (b"[]", 422, None), (b"{}", 422, "url"),
                ({"url": None}, 422, "url"), ({"url": 7}, 422, "url"), ({"url": []}, 422, "url"),
                ({"url": "http://h:1", "x": 1}, 422, "x"), ({"url": ""}, 422, "url"),
                ({"url": "east"}, 422, "url"), ({"url": "127.0.0.1:7411"}, 422, "url"),
                ({"url": "ftp://here"}, 422, "url"), ({"url": "file:///etc/passwd"}, 422, "url"),
                ({"url": "http://"}, 422, "url"), ({"url": "http://u:p@here"}, 422, "url"),
                ({"url": "http://here:0"}, 422, "url"), ({"url": "http://here:65536"}, 422, "url"),
                ({"url": "http://here/?q"}, 422, "url"), ({"url": "http://here/#f"}, 422, "url"),
                ({"url": "http://here\r\nX: y"}, 422, "url"),
                ({"url": "http://" + "h" * 5000}, 422, "url")):
            with self.subTest(body=body):
                kind = "malformed" if status == 400 else "invalid"
                self.problem(self.ask("PUT", "/v1/participants/north", body), status, kind, field)
        self.assertEqual(self.participants(), ["east", "west"])

    # ---- Inquiries ----

    def test_bad_inquiries(self):
        ready = json.loads(self.ask("GET", "/readyz?verbose").body)
        who = {"id": ready["coordinator_id"], "generation": ready["generation"],
               "nonce": "0" * 8 + "-0000-0000-0000-" + "0" * 12}
        good = {"participant_id": checks.NOBODY, "coordinator": who, "gtids": [checks.NOBODY]}
        for path in ("participant_id", "coordinator", "coordinator.id", "coordinator.nonce",
                     "coordinator.generation", "gtids"):
            for value in (None, True, "x", -1, 1.5, {}, ["x"]):
                with self.subTest(path=path, value=value):
                    answer = self.ask("POST", "/v1/decisions", checks.put(good, path, value))
                    field = path
                    if path == "coordinator" and value == {}:
                        field = "coordinator.id"
                    elif path == "gtids" and value == ["x"]:
                        field = "gtids[0]"
                    self.problem(answer, 422, "invalid", field)
        self.problem(self.ask("POST", "/v1/decisions", checks.put(good, "gtids", [checks.NOBODY] * 10001)),
                     422, "invalid", "gtids")
        self.problem(self.ask("POST", "/v1/decisions", checks.put(good, "more", 1)), 422, "invalid",
                     "more")
        self.problem(self.ask("POST", "/v1/decisions", b"\xff"), 400, "malformed")
        self.problem(self.ask("POST", "/v1/decisions", checks.put(good, "coordinator.id", checks.NOBODY)),
                     409, "wrong-coordinator")


class Framing(checks.Case):
    """Where a request ends, and what may stand in its head."""

    POST = b"POST /v1/transactions HTTP/1.1\r\n"
    GET = b"GET /livez HTTP/1.1\r\n"
    HOST = b"Host: here\r\n"

    def refused(self, data, status, kind, words=None):
        """One answer, and then the end: what follows is never taken for a request."""
        with self.nothing_begins(), wire.Connection(self.url) as connection:
            connection.send(data)
            answer = connection.receive()
            self.problem(answer, status, kind, words=words)
            self.assertEqual(answer.headers.get("connection"), "close", answer)
            connection.end()
            self.assertIsNone(connection.receive())

    def smuggled(self):
        body = json.dumps(checks.transfer()).encode()
        return (self.POST + self.HOST + b"Content-Length: %d\r\n\r\n" % len(body)) + body

    def test_content_length_with_transfer_encoding(self):
        for more in (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                     b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
                     b"transfer-encoding: CHUNKED\r\nCONTENT-LENGTH: 0\r\n\r\n"):
            self.refused(self.POST + self.HOST + more + b"0\r\n\r\n" + self.smuggled(), 400,
                         "malformed", "exclude each other")

    def test_content_lengths(self):
        for value in (b"-1", b"+2", b"x", b"", b"0x2", b"2, 2", b"2 2", b"1.0", b"\xb2"):
            self.refused(self.POST + self.HOST + b"Content-Length: " + value + b"\r\n\r\n{}", 400,
                         "malformed", "Content-Length")
        self.refused(self.POST + self.HOST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"
                     + self.smuggled(), 400, "malformed", "more than once")

    def test_transfer_encodings(self):
        for value in (b"gzip", b"chunked, gzip", b"gzip, chunked", b"identity", b"", b"xchunked"):
            self.refused(self.POST + self.HOST + b"Transfer-Encoding: " + value
                         + b"\r\n\r\n0\r\n\r\n", 400, "malformed", "Transfer-Encoding")
        self.refused(b"POST /v1/transactions HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"
                     b"0\r\n\r\n", 400, "malformed", "HTTP/1.0")

    def test_chunks(self):
        for chunks in (b"zz\r\n{}\r\n0\r\n\r\n", b"-2\r\n{}\r\n0\r\n\r\n", b"\r\n\r\n",
                       b"2\r\n{}zz0\r\n\r\n"):
            self.refused(self.POST + self.HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks,
                         400, "malformed", "chunk")

    def test_hosts(self):
        self.refused(self.GET + b"\r\n", 400, "malformed", "Host")
        self.refused(self.GET + self.HOST + self.HOST + b"\r\n", 400, "malformed", "Host")

    def test_header_lines(self):
        for line in (b"no colon", b"Content-Length : 5", b"A b: c", b"A\tb: c", b"\xe9: c"):
            with self.subTest(line=line):
                self.refused(self.GET + self.HOST + line + b"\r\n\r\n", 400, "malformed")

    def test_long_heads(self):
        many = b"".join(b"A%d: x\r\n" % i for i in range(20000))
        self.refused(self.GET + self.HOST + b"A: " + b"x" * 200000 + b"\r\n\r\n", 431, "too-large",
                     "header")
        self.refused(self.GET + self.HOST + many + b"\r\n", 431, "too-large", "header")
        self.refused(b"GET /" + b"x" * 200000 + b" HTTP/1.1\r\n" + self.HOST + b"\r\n", 414,
                     "too-large", "URL")
        self.refused(b"GET /livez?" + b"x" * 200000 + b" HTTP/1.1\r\n" + self.HOST + b"\r\n", 414,
                     "too-large", "URL")

    def test_others_are_not_taken_for_the_one_that_is_refused(self):
        others = [wire.Connection(self.url) for _ in range(6)]
        for other in others:
            self.addCleanup(other.__exit__)
            self.assertEqual(other.ask("GET", "/livez").status, 200)
        others[0].send(self.GET[:7])
        others[1].send(self.GET + b"A: b")
        for data, status in (
                (self.GET + self.HOST + b"A: " + b"x" * 200000 + b"\r\n\r\n", 431),
                (b"GET /" + b"x" * 200000 + b" HTTP/1.1\r\n" + self.HOST + b"\r\n", 414),
                (self.GET + self.HOST + b"no colon\r\n\r\n", 400),
                (b"nonsense\r\n\r\n", 400)):
            for _ in range(5):
                answer = wire.raw(self.url, data)
                self.assertTrue(answer is None or answer.status == status, answer)
        others[0].send(self.GET[7:] + self.HOST + b"\r\n")
        others[1].send(b"\r\n" + self.HOST + b"\r\n")
        for other in others[2:]:
            other.send(self.GET + self.HOST + b"\r\n")
        for other in others:
            self.assertEqual(other.receive().status, 200)

    def test_many_headers_that_fit(self):
        many = b"".join(b"A%d: x\r\n" % i for i in range(300))
        self.assertEqual(wire.raw(self.url, self.GET + self.HOST + many + b"\r\n").status, 200)

    def test_other_versions(self):
        for version in (b"HTTP/2.0", b"HTTP/3.0", b"HTTP/0.9"):
            self.refused(b"GET /livez " + version + b"\r\n" + self.HOST + b"\r\n", 505,
                         "malformed", "HTTP/1.1")
        self.refused(b"GET /livez\r\n\r\n", 400, "malformed")

    def test_what_is_no_http(self):
        """No answer is owed; that the daemon goes on is."""
        with self.nothing_begins():
            for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
                         b"\0\0\0\0", b"\r\n\r\n\r\n\r\n", b"\xff" * 10000, b""):
                answer = wire.raw(self.url, data, end=True)
                if answer is not None:
                    self.problem(answer, answer.status, "malformed")

    def test_cut_off(self):
        whole = self.smuggled()
        with self.nothing_begins():
            for size in range(0, len(whole), 7):
                answer = wire.raw(self.url, whole[:size], end=True)
                if answer is not None:
                    self.problem(answer, 400, "malformed", words="ended before it was whole")

    def test_one_bad_request_does_not_harm_those_before_it(self):
        with wire.Connection(self.url) as connection:
            connection.send(self.smuggled() + self.POST + self.HOST
                            + b"Content-Length: 2\r\n\r\n{]" + self.GET + b"\r\n")
            self.assertEqual(connection.receive().status, 201)
            self.problem(connection.receive(), 400, "malformed")
            self.problem(connection.receive(), 400, "malformed", words="Host")
            self.assertIsNone(connection.receive())


if __name__ == "__main__":
    checks.main(sys.argv)
