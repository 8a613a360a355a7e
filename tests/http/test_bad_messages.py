"""usage: test_bad_messages.py [TEST…] DIRECTORY; what an agent says to what it cannot take.

Whatever it is, no branch is left behind, and transactions go on."""

import json
import random
import sys
import uuid

import checks
import wire

MESSAGES = "/v1/messages"
DEDUCT = "UPDATE accounts SET balance = balance - ? WHERE id = ?"
MEMBERS = {
    "coordinator": ["an object"],
    "coordinator.id": ["a string"],
    "coordinator.url": ["a string"],
    "coordinator.generation": ["a number"],
    "coordinator.nonce": ["a string"],
    "coordinator.forgotten_below": ["a string"],
    "messages": ["an array"],
    "messages[0]": ["an object"],
    "messages[0].op": ["a string"],
    "messages[0].gtid": ["a string"],
    "messages[0].began_us": ["a number"],
    "messages[0].timeout_ms": ["a number"],
    "messages[0].one_phase": ["a boolean"],
    "messages[0].isolation": ["a string"],
    "messages[0].statements": ["an array"],
    "messages[0].statements[0]": ["an object"],
    "messages[0].statements[0].sql": ["a string"],
    "messages[0].statements[0].params": ["an array"],
    "messages[0].statements[0].params[0]": ["a string", "a number", "a boolean", "null",
                                            "an object"],
    "messages[0].statements[0].expect": ["an object"],
    "messages[0].statements[0].expect.rows": ["a number", "an object"],
}


def prepare(gtid=None, **more):
    return dict({"op": "prepare", "gtid": gtid or str(uuid.uuid4()), "began_us": 1763632800123456,
                 "timeout_ms": 5000, "isolation": "default", "one_phase": False,
                 "statements": [{"sql": DEDUCT, "params": [1, 1], "expect": {"rows": 1}}]}, **more)


class Agent(checks.Case):
    def setUp(self):
        super().setUp()
        self.who = {"id": str(uuid.uuid4()), "url": "http://127.0.0.1:9", "generation": 5,
                    "nonce": str(uuid.uuid4()), "forgotten_below": "00000000-0000-7000-8000-000000000000"}
        self.connection = wire.Connection(self.east)
        self.addCleanup(self.connection.__exit__)
        prepares = self.prepares()
        self.addCleanup(self.unharmed, prepares, self.balances[0])

    def unharmed(self, prepares, balance):
        self.assertEqual(self.branches("?state=prepared"), [])
        self.assertEqual(self.branches(), [])
        self.assertEqual(self.world.balance("east"), balance)
        self.assertLessEqual(self.prepares(), prepares + self.allowed)
        self.moves_money()

    allowed = 0  # branches that the test prepares on purpose

    def prepares(self):
        return wire.metrics(self.east)["assent_resource_prepares_total"]

    def branches(self, query=""):
        return wire.ask(self.east, "GET", "/v1/branches" + query).json()["items"]

    def envelope(self, *messages):
        return {"coordinator": dict(self.who), "messages": list(messages) or [prepare()]}

    def ask(self, method, target, body=None):
        return self.connection.ask(method, target, body)

    def post(self, document):
        return self.ask("POST", MESSAGES, document)

    def lines(self, *messages):
        """The answers, in the order of the messages."""
        answer = self.post(self.envelope(*messages))
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.headers["content-type"], "application/x-ndjson")
        found = [json.loads(line) for line in answer.body.decode().splitlines()]
        self.assertEqual(len(found), len(messages), answer)
        for line in found:
            self.assertRegex(line["participant_id"], "^[0-9a-f-]{36}$")
        return [next(f for f in found if f.get("gtid") == m["gtid"] and f["op"] == m["op"])
                for m in messages]

    # ---- Whole bodies ----

    def test_no_json(self):
        whole = json.dumps(self.envelope()).encode()
        generator = random.Random(3)
        bodies = [whole[:size] for size in range(0, len(whole), 3)]
        bodies += [b"", b"[" * 100000, b"\0", whole + b"\0", whole + whole, b"\xff\xfe",
                   whole.replace(b"UPDATE", b"UP\xc0\xafDATE"), whole.replace(b"UPDATE", b"\\ud800"),
                   whole.replace(b"UPDATE", b"a\\u0000b"), generator.randbytes(100000)]
        for body in bodies:
            self.problem(self.post(body), 400, "malformed")

    def test_wrong_types_at_every_level(self):
        for path, allowed in MEMBERS.items():
            for name, value in checks.OTHERS.items():
                if name not in allowed:
                    with self.subTest(path=path, type=name):
                        self.problem(self.post(checks.put(self.envelope(), path, value)), 422,
                                     "invalid", path, "must be")
        for value in (b"[]", b"null", b"7", b"\"x\""):
            self.problem(self.post(value), 422, "invalid", words="must be an object")

    def test_unknown_members(self):
        for path in ("more", "coordinator.more", "messages[0].more",
                     "messages[0].statements[0].more"):
            self.problem(self.post(checks.put(self.envelope(), path, 1)), 422, "invalid", path,
                         "no known member")

    def test_required(self):
        for path in ("coordinator", "coordinator.id", "coordinator.url", "coordinator.nonce",
                     "coordinator.generation", "messages", "messages[0].op", "messages[0].gtid",
                     "messages[0].statements"):
            document = self.envelope()
            *way, last = checks.steps(path)
            at = document
            for step in way:
                at = at[step]
            del at[last]
            self.problem(self.post(document), 422, "invalid", path, "is required")

    def test_values_out_of_range(self):
        for path, value in (
                ("coordinator.id", "x"), ("coordinator.nonce", checks.NOBODY[:-1]),
                ("coordinator.generation", -1), ("coordinator.generation", 2**53),
                ("coordinator.url", ""), ("coordinator.url", "ftp://here"),
                ("coordinator.url", "http://" + "h" * 5000),
                ("messages", []), ("messages", [{"op": "abort", "gtid": checks.NOBODY}] * 1001),
                ("messages[0].op", "destroy"), ("messages[0].began_us", -1),
                ("messages[0].timeout_ms", 1.5), ("messages[0].isolation", "dirty"),
                ("messages[0].statements", []),
                ("messages[0].statements[0].params[0]", 2**53 + 1),
                ("messages[0].statements[0].params[0]", [1])):
            with self.subTest(path=path, value=str(value)[:60]):
                self.problem(self.post(checks.put(self.envelope(), path, value)), 422, "invalid",
                             path)
        for op in ("commit", "abort"):
            for name, value in (("statements", []), ("began_us", 1), ("timeout_ms", 1),
                                ("isolation", "default")):
                message = {"op": op, "gtid": checks.NOBODY, name: value}
                self.problem(self.post(self.envelope(message)), 422, "invalid",
                             "messages[0]." + name, "\"prepare\" and \"execute\" only")

    def test_one_bad_message_stops_the_whole_request(self):
        document = self.envelope(prepare(), prepare(op="destroy"))
        self.problem(self.post(document), 422, "invalid", "messages[1].op")

    def test_oversized(self):
        head = "POST /v1/messages HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n"
        self.problem(wire.raw(self.east, (head % (64 * 1024 * 1024 + 1)).encode()), 413,
                     "too-large", words="67108864 bytes")

    def test_framing(self):
        head = b"POST /v1/messages HTTP/1.1\r\nHost: here\r\n"
        for more, status, kind in (
                (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "malformed"),
                (b"Content-Length: x\r\n\r\n", 400, "malformed"),
                (b"Content-Length : 5\r\n\r\n", 400, "malformed"),
                (b"A: " + b"x" * 200000 + b"\r\n\r\n", 431, "too-large"),
                (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "malformed")):
            self.problem(wire.raw(self.east, head + more), status, kind)

    # ---- Single messages ----

    def test_invalid_gtids_do_not_stop_the_others(self):
        bad = ["", "x", checks.NOBODY[:-1], checks.NOBODY + "0", "'; DROP TABLE accounts; --",
               "\u2603" * 10, checks.NOBODY.replace("-", "")]
        good = str(uuid.uuid4())
        for op in ("commit", "abort"):
            messages = [{"op": op, "gtid": text} for text in bad]
            messages.insert(3, {"op": "abort", "gtid": good})
            found = self.lines(*messages)
            self.assertEqual(found.pop(3)["state"], "aborted")
            for line in found:
                self.assertEqual(line["error"], "invalid_gtid", line)
                self.assertNotIn("state", line)
        for text in bad:
            line = self.lines(prepare(gtid=text) if text else dict(prepare(), gtid=""))[0]
            self.assertEqual(line["error"], "invalid_gtid", line)
            self.assertNotIn("vote", line)
        long = "g" * 100000
        answer = self.post(self.envelope(dict(prepare(), gtid=long)))
        line = json.loads(answer.body)
        self.assertEqual(line["error"], "invalid_gtid")
        self.assertTrue(long.startswith(line["gtid"]))
        self.assertLess(len(answer.body), 1000)

    def test_outcomes_of_unknown_branches(self):
        gtid, other = str(uuid.uuid4()), str(uuid.uuid4())
        found = self.lines({"op": "commit", "gtid": gtid}, {"op": "abort", "gtid": other})
        self.assertEqual([line["state"] for line in found], ["unknown", "aborted"])
        late = self.lines(prepare(gtid=other))[0]
        self.assertEqual((late["vote"], late["cause"]["code"]), ("no", "client_abort"), late)

    def test_another_coordinator(self):
        gtid = str(uuid.uuid4())
        self.allowed = 1
        self.assertEqual(self.lines(prepare(gtid=gtid))[0]["vote"], "yes")
        mine, self.who = self.who, dict(self.who, id=str(uuid.uuid4()))
        for message in ({"op": "commit", "gtid": gtid}, {"op": "abort", "gtid": gtid},
                        prepare(gtid=gtid)):
            line = self.lines(message)[0]
            self.assertEqual(line["error"], "wrong_coordinator", line)
            self.assertNotIn("state", line)
            self.assertNotIn("vote", line)
        self.assertEqual([b["gtid"] for b in self.branches("?state=prepared")], [gtid])
        self.who = mine
        self.assertEqual(self.lines({"op": "abort", "gtid": gtid})[0]["state"], "aborted")

    def test_a_log_that_was_set_back(self):
        gtid = str(uuid.uuid4())
        self.allowed = 1
        self.assertEqual(self.lines(prepare(gtid=gtid))[0]["vote"], "yes")
        mine = self.who
        for change in ({"generation": 4}, {"generation": 0}, {"nonce": str(uuid.uuid4())}):
            self.who = dict(mine, **change)
            for message in ({"op": "commit", "gtid": gtid}, {"op": "abort", "gtid": gtid},
                            prepare()):
                line = self.lines(message)[0]
                self.assertEqual((line["error"], line["generation_seen"]), ("log_set_back", 5))
        self.assertEqual([b["gtid"] for b in self.branches("?state=prepared")], [gtid])
        self.who = mine
        self.assertEqual(self.lines({"op": "abort", "gtid": gtid})[0]["state"], "aborted")

    def test_repeated_messages(self):
        gtid = str(uuid.uuid4())
        self.allowed = 1
        first, *more = [self.lines(prepare(gtid=gtid))[0] for _ in range(3)]
        self.assertEqual(first["vote"], "yes")
        self.assertEqual(more, [first, first])
        for _ in range(3):
            self.assertEqual(self.lines({"op": "abort", "gtid": gtid})[0]["state"], "aborted")
        self.assertEqual(self.lines(prepare(gtid=gtid))[0]["vote"], "no")

    # ---- Other endpoints ----

    def test_unknown_ids(self):
        for text in (checks.NOBODY, "x", "x" * 1500, checks.NOBODY + "0", "%ff", "%2f", "%25",
                     "'%20OR%201=1"):
            for method, more, body in (("GET", "", None), ("POST", "/forget", None),
                                       ("POST", "/resolve", {"outcome": "commit"})):
                with self.subTest(id=text[:40], more=more):
                    answer = self.ask(method, "/v1/branches/" + text + more, body)
                    self.assertIs(self.problem(answer, 404, "not-found")["known"], False)

    def test_wrong_methods_and_paths(self):
        for method, path, allow in (
                ("GET", MESSAGES, "POST"), ("PUT", MESSAGES, "POST"),
                ("POST", "/v1/branches", "GET, HEAD"), ("DELETE", "/v1/branches", "GET, HEAD"),
                ("GET", "/v1/branches/" + checks.NOBODY + "/resolve", "POST"),
                ("DELETE", "/v1/branches/" + checks.NOBODY, "GET, HEAD"),
                ("POST", "/metrics", "GET, HEAD")):
            with self.subTest(method=method, path=path):
                answer = self.ask(method, path, self.envelope() if method != "GET" else None)
                self.problem(answer, 405, "method-not-allowed", words=allow)
                self.assertEqual(answer.headers["allow"], allow)
        for path in ("/", "/v1/message", "/v1/messages/", "/v1/transactions", "/v2/messages"):
            self.problem(self.ask("POST", path, self.envelope()), 404, "not-found")

    def test_bad_queries(self):
        for query, field in (("limit=0", "limit"), ("limit=x", "limit"), ("limit=1001", "limit"),
                             ("limit=99999999999999999999999", "limit"), ("state=", "state"),
                             ("state=done", "state"), ("cursor=x", "cursor"), ("cursor=", "cursor"),
                             ("frob=1", "frob")):
            self.problem(self.ask("GET", "/v1/branches?" + query), 422, "invalid", field)
        self.problem(self.ask("GET", "/v1/branches?%zz"), 400, "malformed")

    def test_bad_resolutions(self):
        gtid = str(uuid.uuid4())
        self.allowed = 1
        self.assertEqual(self.lines(prepare(gtid=gtid))[0]["vote"], "yes")
        path = "/v1/branches/" + gtid
        good = {"outcome": "abort", "reason": "test", "operator": "me"}
        for body, status, field in (
                (b"", 400, None), (b"{", 400, None), (b"[]", 422, None), ({}, 422, "outcome"),
                (dict(good, outcome="undecided"), 422, "outcome"),
                (dict(good, outcome="COMMIT"), 422, "outcome"),
                (dict(good, outcome=True), 422, "outcome"),
                (dict(good, reason=7), 422, "reason"), (dict(good, operator=[]), 422, "operator"),
                (dict(good, reason="x" * 100000), 422, "reason"), (dict(good, x=1), 422, "x")):
            kind = "malformed" if status == 400 else "invalid"
            self.problem(self.ask("POST", path + "/resolve", body), status, kind, field)
        self.problem(self.ask("POST", path + "/forget"), 409, "not-heuristic")
        self.assertEqual(self.branches()[0]["state"], "prepared")
        self.assertEqual(self.lines({"op": "abort", "gtid": gtid})[0]["state"], "aborted")
        self.problem(self.ask("POST", path + "/resolve", good), 409, "not-in-doubt")

    def test_bad_lookups(self):
        for body, status, field in (
                (b"", 400, None), (b"[]", 422, None), ({}, 422, "gtids"), ({"gtids": 1}, 422, "gtids"),
                ({"gtids": ["x"]}, 422, "gtids[0]"), ({"gtids": [None]}, 422, "gtids[0]"),
                ({"gtids": [checks.NOBODY] * 1001}, 422, "gtids"),
                ({"gtids": [], "x": 1}, 422, "x")):
            kind = "malformed" if status == 400 else "invalid"
            self.problem(self.ask("POST", "/v1/branches/lookup", body), status, kind, field)


if __name__ == "__main__":
    checks.main(sys.argv)
