"""usage: test_openapi.py ROOT ASSENTD ASSENT_AGENT; the API descriptions against the programs."""

import json
import os
import re
import sqlite3
import sys
import tempfile
import unittest
import uuid

import daemons
import schema

ROOT = ASSENTD = AGENT = None
METHODS = {"get", "put", "post", "delete"}
NOBODY = "http://127.0.0.1:9"
UNKNOWN = "0199c0de-7a11-7c3e-9f00-5a2b1c0d0001"


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def unique(pairs):
    """A JSON object, refused when a member stands in it twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member twice among " + " ".join(name for name, _ in pairs))
    return found


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def nodes(value):
    yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    for child in children:
        yield from nodes(child)


def routes_of(source):
    """(method, path) of each route in the table `routes` of a C file."""
    table = re.search(r"struct api_route routes\[\] = \{(.*?)\};", source, re.S).group(1)
    return set(re.findall(r'\{"([A-Z]+)", "([^"]+)"', table))


def problem_types_of(folders):
    """The types of problem documents that the C files of some folders can write."""
    call = re.compile(r'(?:\brefuse|problem|problem_begin|server_refuse|refuse_raw)\([^;"]*'
                      r'"([a-z]+(?:-[a-z]+)*)"')
    found = set()
    for folder in folders:
        for name in sorted(os.listdir(os.path.join(ROOT, folder))):
            if name.endswith(".c"):
                found.update(call.findall(read(folder + "/" + name)))
    kinds = re.search(r"kinds\[\] = \{(.*?)\};", read("api/problem.c"), re.S).group(1)
    return found | set(re.findall(r'\{TPC_\w+, "([a-z-]+)"', kinds)) | {"error"}


class Document:
    """Checks of one description; the classes below say of which."""

    path = source = folders = None

    @classmethod
    def setUpClass(cls):
        cls.document = json.loads(read(cls.path), object_pairs_hook=unique)

    def test_is_openapi(self):
        self.assertEqual(self.document["openapi"], "3.1.0")
        names = [o["operationId"] for _, _, o in operations(self.document)]
        self.assertEqual(len(names), len(set(names)))
        tags = {t["name"] for t in self.document["tags"]}
        for path, method, operation in operations(self.document):
            with self.subTest(path=path, method=method):
                self.assertIn(method, METHODS)
                self.assertLessEqual({"operationId", "tags", "summary", "responses"},
                                     set(operation))
                self.assertLessEqual(set(operation["tags"]), tags)
                parameters = [schema.resolve(self.document, p)
                              for p in operation.get("parameters", [])]
                self.assertEqual({p["name"] for p in parameters if p["in"] == "path"},
                                 set(re.findall(r"\{(\w+)\}", path)))

    def test_every_reference_leads_somewhere(self):
        for node in nodes(self.document):
            if isinstance(node, dict) and "$ref" in node:
                schema.resolve(self.document, node)

    def test_every_component_is_named(self):
        used = {n["$ref"] for n in nodes(self.document) if isinstance(n, dict) and "$ref" in n}
        for kind in ("schemas", "parameters"):
            for name in self.document["components"].get(kind, {}):
                self.assertIn(f"#/components/{kind}/{name}", used)

    def test_every_route_is_described_and_the_reverse(self):
        described = {(m.upper(), p) for p, m, _ in operations(self.document)}
        self.assertEqual(described, routes_of(read(self.source)))

    def test_every_problem_type_is_described_and_the_reverse(self):
        enum = self.document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
        described = {t.removeprefix("urn:assent:problem:") for t in enum}
        self.assertEqual(described, problem_types_of(self.folders))

    def test_every_example_fits_its_schema(self):
        seen = 0
        for node in nodes(self.document):
            if not isinstance(node, dict):
                continue
            examples = node.get("examples")
            if isinstance(examples, dict) and "schema" in node:
                pairs = [(node["schema"], e["value"]) for e in examples.values()]
            elif isinstance(examples, list):
                pairs = [(node, e) for e in examples]
            else:
                continue
            for inner, value in pairs:
                seen += 1
                self.assertEqual(list(schema.faults(self.document, inner, value)), [], value)
                self.assertEqual(list(schema.undocumented(self.document, inner, value)), [], value)
        self.assertGreater(seen, 20)

    def expect(self, status, method, path, body=None, headers=None, query="", **values):
        """Ask the running daemon; the answer must be what the document says. Returns the body."""
        url = self.daemon.url + path.format(**values) + query
        got, got_headers, content = daemons.ask(method, url, body, headers)
        self.assertEqual(got, status, content)
        responses = self.document["paths"][path][method.lower()]["responses"]
        self.assertIn(str(status), responses, content)
        if status == 204:
            self.assertEqual(content, b"")
            return None
        media = schema.resolve(self.document, responses[str(status)])["content"]
        kind = got_headers.get_content_type()
        self.assertIn(kind, media)
        if kind == "text/plain":
            return content
        lines = content.splitlines() if kind == "application/x-ndjson" else [content]
        values = [json.loads(line) for line in lines]
        for value in values:
            inner = media[kind]["schema"]
            self.assertEqual(list(schema.faults(self.document, inner, value)), [], content)
            if path != "/openapi.json":
                self.assertEqual(list(schema.undocumented(self.document, inner, value)), [],
                                 content)
        return values if kind == "application/x-ndjson" else values[0]

    def test_serves_itself(self):
        _, _, content = daemons.ask("GET", self.daemon.url + "/openapi.json")
        self.assertEqual(content.decode(), read(self.path))
        self.expect(200, "GET", "/openapi.json")

    def test_understands_the_methods_that_are_described(self):
        for path in self.document["paths"]:
            asked = re.sub(r"\{\w+\}", "x", path)
            wanted = {m.upper() for p, m, _ in operations(self.document)
                      if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", p), asked)}
            wanted |= {"HEAD"} if "GET" in wanted else set()
            status, headers, _ = daemons.ask("PATCH", self.daemon.url + asked)
            self.assertEqual((status, set(headers["Allow"].split(", "))), (405, wanted), path)


class Coordinator(Document, unittest.TestCase):
    path = "docs/openapi.json"
    source = "coordinator/endpoints.c"
    folders = ("coordinator", "api")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.daemon = daemons.Daemon(folder.name, "assentd", ASSENTD, "--data", "data", "--listen",
                                    "127.0.0.1:0", "--body-max", "64k")
        cls.addClassCleanup(cls.daemon.stop)

    def test_registry(self):
        path = "/v1/participants/{name}"
        self.expect(404, "GET", path, name="r1")
        self.expect(201, "PUT", path, {"url": NOBODY}, name="r1")
        self.expect(200, "PUT", path, {"url": NOBODY + "/agent/"}, name="r1")
        self.assertEqual(self.expect(200, "GET", path, name="r1")["url"], NOBODY + "/agent")
        self.assertIn("r1", [i["name"] for i in self.expect(200, "GET", "/v1/participants")["items"]])
        self.expect(400, "PUT", path, b"{", name="r1")
        self.expect(413, "PUT", path, b" " * 70000, name="r1")
        self.expect(422, "PUT", path, {"url": "nowhere"}, name="r1")
        self.expect(204, "DELETE", path, name="r1")
        self.expect(404, "DELETE", path, name="r1")

    def test_transactions(self):
        self.expect(201, "PUT", "/v1/participants/{name}", {"url": NOBODY}, name="t1")
        branch = {"participant": "t1", "statements": [{"sql": "SELECT 1"}]}
        path = "/v1/transactions"
        aborted = self.expect(409, "POST", path, {"label": "x", "branches": [branch]},
                              {"Idempotency-Key": "k1"})
        self.assertEqual(aborted["cause"]["code"], "unreachable")
        self.expect(202, "POST", path, {"branches": [branch]}, {"Prefer": "respond-async"})
        self.expect(400, "POST", path, b"{")
        self.expect(413, "POST", path, b" " * 70000)
        self.expect(422, "POST", path, {"branches": []})
        self.expect(422, "POST", path, {"branches": [branch], "open": True})
        self.expect(422, "POST", path, {"branches": [{**branch, "participant": "t2"}]})
        one = "/v1/transactions/{id}"
        self.expect(200, "GET", one, id=aborted["id"], query="?wait=1s")
        self.expect(422, "GET", one, id=aborted["id"], query="?wait=soon")
        self.assertIs(self.expect(404, "GET", one, id=UNKNOWN)["known"], False)
        self.expect(200, "POST", one + "/abort", id=aborted["id"])
        self.expect(404, "POST", one + "/abort", id=UNKNOWN)
        self.expect(409, "POST", one + "/commit", id=aborted["id"])
        self.expect(404, "POST", one + "/commit", id=UNKNOWN)
        self.expect(409, "POST", one + "/statements", branch, id=aborted["id"])

    def test_interactive_transactions(self):
        self.expect(201, "PUT", "/v1/participants/{name}", {"url": NOBODY}, name="i1")
        branch = {"participant": "i1", "statements": [{"sql": "SELECT 1"}]}
        path, one = "/v1/transactions", "/v1/transactions/{id}"
        opened = self.expect(201, "POST", path, {"open": True})
        self.expect(200, "GET", one, id=opened["id"])
        self.expect(422, "POST", one + "/statements", {}, id=opened["id"])
        self.expect(409, "POST", one + "/statements", branch, id=opened["id"])
        self.expect(409, "POST", one + "/commit", id=opened["id"])
        self.expect(200, "POST", one + "/abort", id=opened["id"])
        opened = self.expect(201, "POST", path, {"open": True})
        self.expect(422, "POST", one + "/commit", None, {"Prefer": "wait=x"}, id=opened["id"])
        self.expect(200, "POST", one + "/commit", id=opened["id"])
        self.expect(404, "POST", one + "/commit", id=UNKNOWN)

    def test_list(self):
        self.expect(200, "GET", "/v1/transactions", query="?state=aborted&limit=1")
        for wrong in ("?limit=0", "?state=open", "?cursor=1", "?nonsense=1"):
            self.expect(422, "GET", "/v1/transactions", query=wrong)

    def test_decisions(self):
        ready = self.expect(200, "GET", "/readyz", query="?verbose")
        about = {"id": ready["coordinator_id"], "generation": 0, "nonce": UNKNOWN}
        inquiry = {"participant_id": UNKNOWN, "coordinator": about, "gtids": [UNKNOWN]}
        told = self.expect(200, "POST", "/v1/decisions", inquiry)
        self.assertEqual(told["decisions"], [{"gtid": UNKNOWN, "outcome": "abort"}])
        self.expect(400, "POST", "/v1/decisions", b"[")
        self.expect(413, "POST", "/v1/decisions", b" " * 70000)
        self.expect(422, "POST", "/v1/decisions", {})
        about["id"] = UNKNOWN
        self.expect(409, "POST", "/v1/decisions", inquiry)

    def test_operations(self):
        for path in ("/livez", "/readyz", "/metrics"):
            self.expect(200, "GET", path)


class Participant(Document, unittest.TestCase):
    path = "docs/openapi-participant.json"
    source = "participant/endpoints.c"
    folders = ("participant", "api")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        with sqlite3.connect(os.path.join(folder.name, "bank.db")) as database:
            database.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER NOT NULL)")
            database.executemany("INSERT INTO t VALUES (?, 0)", [(i,) for i in range(10)])
        database.close()
        cls.daemon = daemons.Daemon(folder.name, "agent", AGENT, "sqlite:bank.db", "--name", "bank",
                                    "--listen", "127.0.0.1:0", "--body-max", "64k")
        cls.addClassCleanup(cls.daemon.stop)

    def send(self, *messages, **coordinator):
        """The answers to messages of a coordinator that cannot be asked."""
        who = {"id": UNKNOWN, "url": NOBODY, "generation": 1, "nonce": UNKNOWN, **coordinator}
        return self.expect(200, "POST", "/v1/messages",
                           {"coordinator": who, "messages": list(messages)})

    def prepare(self, row, **more):
        """A branch that changes one row. Returns its gtid."""
        gtid = str(uuid.uuid4())
        sql = "UPDATE t SET n = n + 1 WHERE id = ?"
        (answer,) = self.send({"op": "prepare", "gtid": gtid, **more,
                               "statements": [{"sql": sql, "params": [row]}]})
        self.assertIn(answer["vote"], ("yes", "committed"))
        self.assertEqual(answer["results"], [{"rows_affected": 1}])
        return gtid

    def test_messages(self):
        gtid = self.prepare(0)
        self.assertEqual(self.send({"op": "commit", "gtid": gtid})[0]["state"], "committed")
        self.assertEqual(self.send({"op": "commit", "gtid": UNKNOWN})[0]["state"], "unknown")
        (answer,) = self.send({"op": "commit", "gtid": str(uuid.uuid4()), "participant_id": UNKNOWN},
                              forgotten_below=UNKNOWN)
        self.assertEqual(answer["error"], "wrong_participant")
        self.assertEqual(self.send({"op": "abort", "gtid": self.prepare(0)})[0]["state"], "aborted")
        self.assertEqual(self.send({"op": "abort", "gtid": "17"})[0]["error"], "invalid_gtid")
        self.prepare(0, one_phase=True)
        (no,) = self.send({"op": "prepare", "gtid": str(uuid.uuid4()),
                           "statements": [{"sql": "UPDATE t SET n = NULL WHERE id = 0"}]})
        self.assertEqual((no["vote"], no["cause"]["code"]), ("no", "constraint"))
        self.send({"op": "abort", "gtid": str(uuid.uuid4())}, id=str(uuid.uuid4()), generation=7)
        other = str(uuid.uuid4())
        self.send({"op": "abort", "gtid": str(uuid.uuid4())}, id=other, generation=7)
        (answer,) = self.send({"op": "commit", "gtid": gtid}, id=other, generation=7)
        self.assertEqual(answer["error"], "wrong_coordinator")
        (answer,) = self.send({"op": "commit", "gtid": gtid}, id=other, generation=6)
        self.assertEqual((answer["error"], answer["generation_seen"]), ("log_set_back", 7))

    def test_refused_messages(self):
        self.expect(400, "POST", "/v1/messages", b"{")
        self.expect(413, "POST", "/v1/messages", b" " * 70000)
        self.expect(422, "POST", "/v1/messages", {"messages": []})

    def test_branches(self):
        one, listed = "/v1/branches/{gtid}", "/v1/branches"
        gtid = self.prepare(1)
        self.assertEqual(self.expect(200, "GET", one, gtid=gtid)["state"], "prepared")
        items = self.expect(200, "GET", listed, query="?state=prepared")["items"]
        self.assertIn(gtid, [i["gtid"] for i in items])
        self.expect(409, "POST", one + "/forget", gtid=gtid)
        by_hand = {"outcome": "commit", "reason": "a test", "operator": "test"}
        done = self.expect(200, "POST", one + "/resolve", by_hand, gtid=gtid)
        self.assertEqual(done["state"], "heuristic_commit")
        items = self.expect(200, "GET", listed)["items"]
        self.assertIn(gtid, [i["gtid"] for i in items])
        done = self.expect(200, "POST", one + "/forget", gtid=gtid)
        self.assertEqual(done["state"], "committed")
        self.expect(409, "POST", one + "/resolve", by_hand, gtid=gtid)
        for verb in ("/resolve", "/forget"):
            self.expect(404, "POST", one + verb, by_hand, gtid=UNKNOWN)
        self.expect(404, "GET", one, gtid=UNKNOWN)
        gtid = self.prepare(2)
        self.expect(400, "POST", one + "/resolve", b"", gtid=gtid)
        self.expect(413, "POST", one + "/resolve", b" " * 70000, gtid=gtid)
        self.expect(422, "POST", one + "/resolve", {"outcome": "maybe"}, gtid=gtid)
        self.expect(422, "GET", listed, query="?state=maybe")

    def test_lookup(self):
        path, gtid = "/v1/branches/lookup", self.prepare(3)
        told = self.expect(200, "POST", path, {"gtids": [gtid, UNKNOWN]})
        self.assertEqual([i["state"] for i in told["items"]], ["prepared", "unknown"])
        self.expect(400, "POST", path, b"]")
        self.expect(413, "POST", path, b" " * 70000)
        self.expect(422, "POST", path, {"gtids": ["x"]})

    def test_operations(self):
        for path in ("/livez", "/readyz", "/metrics"):
            self.expect(200, "GET", path)
        self.expect(200, "GET", "/readyz", query="?verbose")


if __name__ == "__main__":
    ROOT, ASSENTD, AGENT = map(os.path.abspath, sys.argv[1:4])
    unittest.main(argv=sys.argv[:1])
