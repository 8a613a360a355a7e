"""usage: test_commands.py DIRECTORY; every command against real daemons of that directory."""

import json
import os
import sys
import time
import unittest
import uuid

import daemons

PROGRAMS = None
OK, ERROR, USAGE, ABORTED, IN_DOUBT, UNREACHABLE = range(6)


def transfer(amount, label=None):
    document = {"branches": [
        {"participant": "east", "statements": [
            {"sql": "UPDATE accounts SET balance = balance - ? WHERE id = 1", "params": [amount],
             "expect": {"rows": 1}},
            {"sql": "SELECT id, balance FROM accounts WHERE id = 1"}]},
        {"participant": "west", "statements": [
            {"sql": "UPDATE accounts SET balance = balance + ? WHERE id = 1",
             "params": [amount]}]}]}
    if label:
        document["label"] = label
    return json.dumps(document)


class Commands(unittest.TestCase):
    def setUp(self):
        self.world = daemons.World(PROGRAMS)
        self.addCleanup(self.world.close)

    def assent(self, status, *words, text=""):
        done = self.world.assent(*words, text=text)
        self.assertEqual(done.returncode, status, (words, done.stdout, done.stderr))
        return done

    def document(self, status, *words, text=""):
        return json.loads(self.assent(status, "-o", "json", *words, text=text).stdout)

    def submit(self, amount=10, *words):
        return self.document(OK, "submit", "-", *words, text=transfer(amount))

    # ---- submit ----

    def test_submit_that_commits(self):
        done = self.assent(OK, "submit", "-", text=transfer(30, "rent"))
        self.assertRegex(done.stdout, r"^committed  [0-9a-f-]{36}  rent  ")
        self.assertRegex(done.stdout, r"\neast +yes +committed +1 row, 1 row read\n")
        self.assertRegex(done.stdout, r"\nwest +yes +committed +1 row\n")
        self.assertIn("\neast, statement 1:\nid  balance\n1   70\n", done.stdout)
        self.assertEqual(done.stderr, "")
        self.assertEqual((self.world.balance("east"), self.world.balance("west")), (70, 130))

    def test_submit_from_a_file_in_each_format(self):
        with open(self.world.path("transfer.json"), "w", encoding="utf-8") as file:
            file.write(transfer(1))
        pretty = self.assent(OK, "submit", "transfer.json", "-o", "json").stdout
        self.assertGreater(pretty.count("\n"), 3)
        self.assertEqual(json.loads(pretty)["state"], "committed")
        line = self.assent(OK, "-o", "ndjson", "submit", "transfer.json").stdout
        self.assertEqual(line.count("\n"), 1)
        self.assertEqual(json.loads(line)["outcome"], "commit")

    def test_submit_that_aborts(self):
        done = self.assent(ABORTED, "submit", "-", text=transfer(101))
        self.assertRegex(done.stdout, r"^aborted  [0-9a-f-]{36}")
        self.assertIn("cause: constraint at east, statement 0: CHECK constraint failed",
                      done.stdout)
        self.assertEqual((self.world.balance("east"), self.world.balance("west")), (100, 100))
        self.assertEqual(self.document(ABORTED, "submit", "-", text=transfer(101))["state"],
                         "aborted")

    def test_submit_of_what_is_refused(self):
        done = self.assent(ERROR, "submit", "-", text="{")
        self.assertEqual(done.stdout, "")
        self.assertIn("assent: the coordinator: ", done.stderr)
        done = self.assent(ERROR, "submit", "-", text=transfer(1).replace("west", "nowhere"))
        self.assertIn("nowhere", done.stderr)
        self.assert_nothing_began()

    def assert_nothing_began(self):
        self.assertEqual(self.document(OK, "tx", "ls"), {"items": []})

    def test_the_same_key_is_done_once(self):
        first = self.submit(10, "--key", "k 1")
        self.assertEqual(self.submit(10, "--key", "k 1")["id"], first["id"])
        self.assertEqual(self.world.balance("west"), 110)
        done = self.assent(ERROR, "submit", "-", "--key", "k 1", text=transfer(11))
        self.assertIn("key", done.stderr)
        found = self.document(OK, "tx", "ls", "--key", "k 1")["items"]
        self.assertEqual([t["id"] for t in found], [first["id"]])

    def test_submit_without_waiting(self):
        txn = self.document(OK, "submit", "-", "--async", text=transfer(5))
        self.assertEqual(self.document(OK, "tx", "wait", txn["id"])["state"], "committed")

    # ---- tx ----

    def test_tx_ls_shows_newest_first_and_filters(self):
        ids = [self.submit(1)["id"] for _ in range(3)]
        self.assent(ABORTED, "submit", "-", text=transfer(1000, "too much"))
        found = self.document(OK, "tx", "ls")["items"]
        self.assertEqual(len(found), 4)
        self.assertEqual([t["id"] for t in found if t["state"] == "committed"], ids[::-1])
        committed = self.assent(OK, "tx", "ls", "--state", "committed", "-o", "ndjson").stdout
        self.assertEqual([json.loads(l)["id"] for l in committed.splitlines()], ids[::-1])
        two = self.document(OK, "tx", "ls", "--limit", "2")["items"]
        self.assertEqual(len(two), 2)
        table = self.assent(OK, "tx", "ls", "--state", "aborted", "--participant", "west").stdout
        self.assertEqual(table.count("\n"), 2)
        self.assertRegex(table, r"\A\S*ID .*LABEL\n\S+ +aborted .*east,west +too much\n\Z")

    def test_tx_show_and_wait(self):
        txn = self.submit()
        self.assertEqual(self.document(OK, "tx", "show", txn["id"])["state"], "committed")
        self.assertIn(txn["id"], self.assent(OK, "tx", "wait", txn["id"]).stdout)
        self.assent(ABORTED, "submit", "-", "--key", "bad", text=transfer(1000))
        bad = self.document(OK, "tx", "ls", "--state", "aborted")["items"][0]["id"]
        self.assertEqual(self.document(OK, "tx", "show", bad)["state"], "aborted")
        self.assertEqual(self.document(ABORTED, "tx", "wait", bad)["outcome"], "abort")

    def test_unknown_ids(self):
        for command in ("show", "wait", "abort"):
            for unknown in (str(uuid.uuid4()), "no id", "../x?y"):
                done = self.assent(ERROR, "tx", command, unknown)
                self.assertEqual(done.stdout, "")
                self.assertIn("o such transaction", done.stderr)

    def test_tx_abort_that_is_too_late(self):
        txn = self.submit()
        self.assertIn("decision", self.assent(ERROR, "tx", "abort", txn["id"]).stderr)
        self.assertEqual(self.document(OK, "tx", "show", txn["id"])["state"], "committed")

    # ---- agent ----

    def test_agents(self):
        table = self.assent(OK, "agent", "ls").stdout
        for name in ("east", "west"):
            self.assertRegex(table, r"\n%s +%s +ready +0 +0 +-" %
                             (name, self.world.daemons[name].url))
        self.assent(OK, "agent", "show", "east")
        done = self.assent(ERROR, "agent", "show", "esat")
        self.assertIn('Did you mean "east"?', done.stderr)

    def test_agents_of_which_one_is_gone(self):
        self.world.daemons["west"].kill()
        done = self.assent(UNREACHABLE, "agent", "ls", "-o", "json")
        states = {a["name"]: a["state"] for a in json.loads(done.stdout)["items"]}
        self.assertEqual(states, {"east": "ready", "west": "unreachable"})
        self.assent(UNREACHABLE, "agent", "show", "west")
        self.assent(UNREACHABLE, "branch", "ls")
        self.assertEqual(self.document(UNREACHABLE, "check")["verdict"], "unreachable")

    # ---- check ----

    def test_check_of_an_empty_and_a_used_world(self):
        self.assertEqual(self.document(OK, "check")["verdict"], "agrees")
        for _ in range(3):
            self.submit()
        self.assent(ABORTED, "submit", "-", text=transfer(1000))
        report = self.document(OK, "check", "--wait", "20s")
        self.assertEqual(report["transactions"]["committed"], 3)
        compared = {p["name"]: p["compared"] for p in report["participants"]}
        self.assertGreaterEqual(compared["west"], 3)
        self.assertRegex(self.assent(OK, "check").stdout, r"\nagrees: 3 committed")

    def test_check_while_a_transaction_is_forgotten(self):
        """Listed by the coordinator, then forgotten by it and by the agent, then looked up."""
        self.world.daemons["coordinator"].stop()
        self.world.daemons["east"].stop()
        self.world.start_agent("east", "--retention", "1s", "--remember", "1s")
        asked = []

        def hold(method, path, body):
            if path == "/v1/branches/lookup" and not asked:
                asked.extend(json.loads(body)["gtids"])
                deadline = time.monotonic() + 60
                while self.state_at_east(asked[0]) != "unknown" and time.monotonic() < deadline:
                    self.submit(1)  # tells east how far the coordinator has forgotten

        front = daemons.Front(self.world.daemons["east"].url, hold)
        self.addCleanup(front.close)
        self.world.start_coordinator("--retention", "1s", east=front.url)
        gtid = self.submit()["gtid"]
        report = self.document(OK, "check", "--wait", "20s")
        self.assertEqual(asked[0], gtid)
        self.assertEqual(self.state_at_east(gtid), "unknown")
        self.assertEqual((report["verdict"], report["disagreement_count"]), ("agrees", 0))

    def state_at_east(self, gtid):
        items = self.world.ask("east", "POST", "/v1/branches/lookup", {"gtids": [gtid]})["items"]
        return items[0]["state"] if items else "unknown"

    # ---- The coordinator is gone, branches are in doubt ----

    def lose_the_coordinator(self):
        """It dies with its decision forced and nobody told. Returns the branch's gtid."""
        self.world.daemons["coordinator"].stop()
        self.world.start_coordinator("--failpoints", "coord.decision.forced=1*kill")
        done = self.assent(UNREACHABLE, "submit", "-", "--key", "lost", text=transfer(40))
        self.assertIn("outcome is not known", done.stderr)
        self.assertIn("--key lost", done.stderr)
        self.assertEqual(self.world.daemons["coordinator"].wait(), -9)
        found = set()
        for name in ("east", "west"):
            items = self.document(OK, "branch", "ls", *self.at(name))["items"]
            self.assertEqual([b["state"] for b in items], ["prepared"])
            found.add(items[0]["gtid"])
        self.assertEqual(len(found), 1)
        return found.pop()

    def at(self, name):
        return ["--agent", self.world.daemons[name].url]

    def test_recovery_after_the_crash(self):
        gtid = self.lose_the_coordinator()
        self.assertEqual((self.world.balance("east"), self.world.balance("west")), (100, 100))
        self.world.start_coordinator()
        self.assertEqual(self.document(OK, "tx", "wait", gtid)["outcome"], "commit")
        self.assertEqual(self.submit(40, "--key", "lost")["state"], "committed")
        self.assertEqual((self.world.balance("east"), self.world.balance("west")), (60, 140))
        self.assertEqual(self.document(OK, "check", "--wait", "20s")["verdict"], "agrees")

    def test_resolving_as_was_decided_is_forgotten_in_peace(self):
        gtid = self.lose_the_coordinator()
        done = self.assent(OK, "branch", "resolve", gtid, "--commit", "--reason", "closing time",
                           "--operator", "eve", *self.at("east"))
        self.assertIn("heuristic_commit", done.stdout)
        self.assertEqual((self.world.balance("east"), self.world.balance("west")), (60, 100))
        self.assertIn("in doubt", self.assent(
            ERROR, "branch", "resolve", gtid, "--commit", "--reason", "again",
            *self.at("east")).stderr)
        self.world.start_coordinator()
        self.assertEqual(self.document(OK, "tx", "wait", gtid)["outcome"], "commit")
        self.assertEqual(self.document(IN_DOUBT, "check")["participants"][0]["heuristic"], 1)
        self.assertIn("heuristic_commit", self.assent(OK, "branch", "ls").stdout)
        self.assent(OK, "branch", "forget", gtid)
        self.assertEqual(self.document(OK, "branch", "ls"), {"items": []})
        self.assent(OK, "check", "--wait", "20s")

    def test_resolving_against_the_decision_is_a_hazard_that_check_finds(self):
        gtid = self.lose_the_coordinator()
        self.assent(OK, "branch", "resolve", gtid, "--abort", "--reason", "no more time",
                    *self.at("west"))
        self.world.start_coordinator()
        report = self.document(ERROR, "check", "--wait", "20s")
        self.assertEqual(report["verdict"], "disagrees")
        self.assertEqual([(d["gtid"], d["decided"], d["participant"], d["state"])
                          for d in report["disagreements"]],
                         [(gtid, "committed", "west", "heuristic_abort")])
        self.assertRegex(self.assent(ERROR, "check").stdout,
                         gtid + r" +committed +west +heuristic_abort")
        self.assertIn("hazard: west should be committed and is aborted",
                      self.assent(IN_DOUBT, "tx", "wait", gtid).stdout)
        self.assent(OK, "branch", "forget", gtid)
        self.assent(ERROR, "check")
        self.assent(OK, "tx", "forget", gtid)
        for _ in range(2):
            report = self.document(OK, "check", "--wait", "20s")
            self.assertEqual((report["verdict"], report["forgotten_branches"]), ("agrees", 1))
            self.world.daemons["coordinator"].kill()
            self.world.start_coordinator()
        self.assertIn(", 1 forgotten hazard\n", self.assent(OK, "check").stdout)

    def test_resolving_against_a_decision_that_is_known_needs_force(self):
        self.world.daemons["coordinator"].stop()
        self.world.start_coordinator("--failpoints", "coord.decision.forced=1*kill")
        self.assent(UNREACHABLE, "submit", "-", text=transfer(40))
        self.world.daemons["coordinator"].wait()
        gtid = self.document(OK, "branch", "ls", *self.at("west"))["items"][0]["gtid"]
        self.world.start_coordinator("--failpoints", "coord.commit.send=error;coord.retry.send=error;"
                                     "coord.inquiry.receive=error")
        words = ["branch", "resolve", gtid, "--abort", "--reason", "r", "--participant", "west"]
        done = self.assent(ERROR, *words)
        self.assertIn("the coordinator decided commit", done.stderr)
        self.assertIn("in doubt", self.assent(IN_DOUBT, "check").stdout)
        self.assertIn("heuristic_abort", self.assent(OK, *words, "--force").stdout)


if __name__ == "__main__":
    PROGRAMS = os.path.dirname(os.path.abspath(sys.argv.pop(1)))
    unittest.main()
