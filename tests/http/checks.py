"""What every test of a refusal asks: is it a problem document, and did nothing happen?"""

import copy
import os
import unittest

import daemons
import wire

NOBODY = "0199c0de-7a11-7c3e-9f00-5a2b1c0d0001"
COUNTS = ("assent_transactions_total", "assent_transactions_in_flight",
          "assent_transactions_retained", "assent_messages_total")
# One of each type, that no member of the API takes unless by its type.
OTHERS = {"a string": "text", "a number": 7, "a boolean": True, "null": None, "an array": [],
          "an object": {}}
PROGRAMS = None


def steps(path):
    """"a[0].b" as "a", 0, "b"."""
    for word in path.replace("[", ".").split("."):
        yield int(word[:-1]) if word.endswith("]") else word


def put(document, path, value):
    """A copy with this value there; objects are made on the way where there are none."""
    document = copy.deepcopy(document)
    *way, last = steps(path)
    at = document
    for step in way:
        if isinstance(at, dict) and not isinstance(at.get(step), (dict, list)):
            at[step] = {}
        elif isinstance(at, list) and not isinstance(at[step], (dict, list)):
            at[step] = {}
        at = at[step]
    at[last] = value
    return document


def transfer(amount=1):
    return {"label": "alice to bob", "timeout_ms": 10000, "ack": "applied", "isolation": "default",
            "branches": [
                {"participant": "east", "statements": [
                    {"sql": "UPDATE accounts SET balance = balance - ? WHERE id = ?",
                     "params": [amount, 1], "expect": {"rows": 1}}]},
                {"participant": "west", "statements": [
                    {"sql": "UPDATE accounts SET balance = balance + ? WHERE id = ?",
                     "params": [amount, 1], "expect": {"rows": {"min": 1, "max": 1}}}]}]}


class Case(unittest.TestCase):
    """One world for all tests of a class, which must be as healthy at the end as at the start."""

    world_class = daemons.World

    @classmethod
    def setUpClass(cls):
        cls.world = cls.world_class(PROGRAMS)
        cls.addClassCleanup(cls.world.close)
        cls.url = cls.world.daemons["coordinator"].url
        cls.east = cls.world.daemons["east"].url

    @classmethod
    def tearDownClass(cls):
        for name in ("coordinator", "east", "west"):
            daemon = cls.world.daemons[name]
            status = daemon.stop()
            text = "".join(daemon.lines)
            assert status == 0, (name, status, text[-8000:])
            assert "Sanitizer" not in text and "runtime error" not in text, text[-8000:]

    def setUp(self):
        self.balances = self.world.balance("east"), self.world.balance("west")

    # ---- Answers ----

    def problem(self, answer, status, kind, field=None, words=None):
        """RFC 9457, with this project's members. Returns the document."""
        self.assertIsNotNone(answer, "no answer")
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers["content-type"], "application/problem+json", answer)
        document = answer.json()
        self.assertEqual(document["type"], "urn:assent:problem:" + kind, answer)
        self.assertEqual(document["status"], status, answer)
        self.assertTrue(document["title"], answer)
        self.assertTrue(document["detail"], answer)
        self.assertEqual(document.get("field"), field, answer)
        if words is not None:
            self.assertIn(words, document["detail"])
        return document

    # ---- Effects ----

    def begun(self):
        """Everything by which a transaction would show at the coordinator."""
        items = wire.ask(self.url, "GET", "/v1/transactions?limit=1000").json()["items"]
        counts = {name: value for name, value in wire.metrics(self.url).items()
                  if name.startswith(COUNTS)}
        return [item["id"] for item in items], counts

    def nothing_begins(self):
        """A context in which no transaction begins, and after which a good one goes through."""
        return Nothing(self)

    def moves_money(self):
        before = self.world.balance("east"), self.world.balance("west")
        answer = wire.ask(self.url, "POST", "/v1/transactions", transfer())
        self.assertEqual(answer.status, 201, answer)
        self.assertEqual((self.world.balance("east"), self.world.balance("west")),
                         (before[0] - 1, before[1] + 1))


class Nothing:
    def __init__(self, case):
        self.case = case

    def __enter__(self):
        self.begun = self.case.begun()
        self.balances = self.case.world.balance("east"), self.case.world.balance("west")

    def __exit__(self, kind, *_):
        if kind is not None:
            return
        case = self.case
        case.assertEqual(case.begun(), self.begun)
        case.assertEqual((case.world.balance("east"), case.world.balance("west")), self.balances)
        case.moves_money()


def main(argv):
    """The last word of the command line is the directory of the programs."""
    global PROGRAMS
    PROGRAMS = os.path.abspath(argv.pop())
    unittest.main(argv=argv)
