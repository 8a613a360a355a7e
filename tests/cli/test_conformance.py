"""usage: test_conformance.py ROOT BIN; `assent crashtest --conformance` of participants that do as they
should, and of participants with one fault each, which it must find."""

import concurrent.futures
import http.server
import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request
import uuid

import daemons

ROOT = BIN = tickets = None
BOUND_S = 400
SUITES = 8  # beside each other: they mostly wait
SHORT_S = 4  # of patience, where something does not come
BASICS = ("ready commit commit-again prepare-again abort commit-after-abort refused reads commit-unknown "
          "abort-unknown invalid-gtid batch one-phase one-phase-refused one-phase-overtaken one-phase-reads "
          "conflict wrong-coordinator wrong-participant forgotten set-back other-nonce next-generation").split()
DOUBTS = "asks told-commit told-abort told-by-another branches".split()
TICKETS = json.dumps({"writes": [{"sql": "reserve", "params": [1]}], "reads": None,
                      "refused": [{"sql": "reserve", "params": [100000]}]})
SHOP = json.dumps({"writes": [{"sql": "reserve", "params": [1]}], "reads": [{"sql": "sold"}],
                   "refused": [{"sql": "reserve", "params": [100000]}]})


def conformance(url, *words):
    """(exit status, {name: result}, the document)."""
    done = subprocess.run([os.path.join(BIN, "assent"), "crashtest", "--conformance", url, "-o", "json",
                           *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, encoding="utf-8", timeout=BOUND_S)
    if not done.stdout:
        return done.returncode, {}, done.stderr
    document = json.loads(done.stdout)
    return done.returncode, {c["name"]: c["result"] for c in document["checks"]}, document


def failed(results):
    return {name for name, result in results.items() if result == "fail"}


class Supervised:
    """A process that is started again, on its port, whenever it is killed."""

    def __init__(self, folder, command):
        self.folder, self.command = folder, command
        self.pid_path = os.path.join(folder, "pid")
        self.port, self.closing = "0", False
        self.start()
        self.port = self.daemon.url.rpartition(":")[2]
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def start(self):
        self.daemon = daemons.Daemon(self.command(self.port), self.folder)
        with open(self.pid_path + ".new", "w", encoding="utf-8") as file:
            file.write(str(self.daemon.process.pid))
        os.rename(self.pid_path + ".new", self.pid_path)

    def watch(self):
        """Until it is closed: however long the suite takes."""
        while True:
            self.daemon.process.wait()
            self.daemon.wait()
            if self.closing:
                return
            self.start()

    def restart_command(self, more="true"):
        return f"""kill -9 "$(cat '{self.pid_path}')" && rm '{self.pid_path}' && {more}"""

    def close(self):
        self.closing = True
        self.daemon.process.kill()
        self.thread.join()


# ---- Participants with a fault ----

def make_shop(fault):
    """The tickets of docs/examples, which also tell how many are sold, with one fault."""

    class Shop(tickets.Tickets):
        twice = 0  # sold beyond what the log says

        def __init__(self, *args):
            self.timeouts = {}
            super().__init__(*args)

        def sold(self):
            seen = ("committed", "prepared") if fault == "shows what is prepared" else ("committed",)
            return self.twice + sum(b["count"] for b in self.branches.values() if b["state"] in seen)

        def hear(self, who):
            if fault == "obeys a log that was set back":
                self.coordinators[who["id"]] = who
                return None
            return super().hear(who)

        def answer(self, who, message):
            branch = self.branches.get(message["gtid"])
            for gtid in self.in_doubt() if fault == "goes by the clock" else []:
                if self.timeouts[gtid] < time.monotonic():
                    self.record(gtid=gtid, state="aborted")
            if fault == "takes messages for another log":
                message.pop("participant_id", None)
            if fault == "obeys any coordinator" and branch:
                return super().answer({**who, "id": branch["coordinator"]}, message)
            return super().answer(who, message)

        def prepare(self, who, message, branch):
            if message["statements"] == [{"sql": "sold"}]:
                results = [{"columns": ["sold"], "rows": [[self.sold()]]}]
                return {"vote": "read_only"} if fault == "reads without results" else \
                    {"vote": "read_only", "results": results}
            if fault == "waits with its lock" and not branch and self.in_doubt():
                time.sleep(2 * SHORT_S)
            self.timeouts.setdefault(message["gtid"], time.monotonic() + message["timeout_ms"] / 1000)
            again = branch and branch["state"] in ("prepared", "committed")
            if again and fault == ("does a repeated prepare of one phase again" if message.get("one_phase")
                                   else "does a repeated prepare again"):
                self.twice += 1
            if fault == "forgets refusals" and branch and branch["state"] == "aborted":
                branch = None
            if fault == "takes what is refused" and message["statements"][0]["params"][0] > 1000:
                return {"vote": "yes", "results": []}
            said = super().prepare(who, message, branch)
            if fault == "refuses without a cause":
                said.pop("cause", None)
            if fault == "says yes to one phase" and said["vote"] == "committed":
                said["vote"] = "yes"
            return said

        def commit(self, who, message, branch):
            if fault == "takes the unknown for done" and branch is None:
                return {"state": "committed"}
            if fault == "commits what was aborted" and branch and branch["state"] == "aborted":
                return {"state": "committed"}
            if fault == "commits twice" and branch and branch["state"] == "committed":
                self.twice += branch["count"]
            if fault == "says committed and does nothing" and branch and branch["state"] == "prepared":
                self.record(gtid=message["gtid"], state="committed", count=0)
                return {"state": "committed"}
            return super().commit(who, message, branch)

        def abort(self, who, message, branch):
            if fault == "forgets aborts of the unknown" and branch is None:
                return {"state": "aborted"}
            if fault == "keeps what is aborted" and branch and branch["state"] == "prepared":
                self.twice += 1
            return super().abort(who, message, branch)

        def ask(self):
            if fault == "never asks":
                return
            if fault in ("asks under another name", "believes anybody"):
                self.ask_otherwise()
            else:
                super().ask()

        def ask_otherwise(self):
            with self.lock:
                about = {g: self.coordinators[self.branches[g]["coordinator"]] for g in self.in_doubt()}
            name = str(uuid.uuid4()) if fault == "asks under another name" else self.id
            for gtid, who in about.items():
                body = {"participant_id": name, "gtids": [gtid],
                        "coordinator": {k: who[k] for k in ("id", "generation", "nonce")}}
                with urllib.request.urlopen(who["url"] + "/v1/decisions", json.dumps(body).encode(),
                                            timeout=5) as answer:
                    told = json.load(answer)
                outcome = told["decisions"][0]["outcome"]
                believed = fault == "believes anybody" or told["coordinator_id"] == who["id"]
                with self.lock:
                    if outcome != "undecided" and believed and gtid in self.in_doubt():
                        self.record(gtid=gtid, state={"commit": "committed", "abort": "aborted"}[outcome])

    class Handler(tickets.Handler):
        def messages(self, body):
            if fault == "refuses all for one bad gtid" and any(m["gtid"] == "17" for m in body["messages"]):
                return ""
            lines = super().messages(body).splitlines()
            if fault == "answers the first alone":
                lines = lines[:1]
            if fault == "has an id for each answer":
                lines = [json.dumps({**json.loads(l), "participant_id": str(uuid.uuid4())}) for l in lines]
            return "".join(line + "\n" for line in lines)

        def do_GET(self):
            if fault == "is never ready" and self.path == "/readyz":
                self.send_error(503)
            elif fault == "shows no branches" and self.path.startswith("/v1/branches"):
                self.reply(json.dumps({"items": [], "next_cursor": None}))
            else:
                super().do_GET()

    return Shop, Handler


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # the suite did not wait for the answer


class Served:
    """A shop with a fault, in this process."""

    def __init__(self, folder, fault):
        shop, handler = make_shop(fault)
        handler.tickets = shop(folder, 1000)
        self.stopping = threading.Event()
        self.server = Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.threads = [threading.Thread(target=self.server.serve_forever),
                        threading.Thread(target=self.ask, args=(handler.tickets,))]
        for thread in self.threads:
            thread.start()

    def ask(self, shop):
        while not self.stopping.wait(0.1):
            try:
                shop.ask()
            except OSError:
                pass  # the suite has gone

    def close(self):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
        for thread in self.threads:
            thread.join()
        # Its log stays open: a request that the suite gave up may still be at work, and a shop that
        # cannot write its log ends the process.


# What must be found of each fault, and nothing else.
FAULTS = {
    None: "",
    "is never ready": "ready",
    "shows what is prepared": "commit told-commit wrong-participant",
    "says committed and does nothing": "commit forgotten",
    "commits twice": "commit-again",
    "does a repeated prepare again": "prepare-again forgotten wrong-participant",
    "keeps what is aborted": "abort prepare-again commit-after-abort",
    "commits what was aborted": "commit-after-abort",
    "refuses without a cause": "refused",
    "takes what is refused": "refused one-phase-refused",
    "reads without results": "reads commit one-phase forgotten",
    "takes the unknown for done": "commit-unknown invalid-gtid batch refused",
    "forgets aborts of the unknown": "abort-unknown one-phase-overtaken",
    "forgets refusals": "abort abort-unknown one-phase-overtaken",
    "refuses all for one bad gtid": "invalid-gtid",
    "answers the first alone": "batch invalid-gtid",
    "says yes to one phase": "one-phase",
    "does a repeated prepare of one phase again": "one-phase",
    "waits with its lock": "conflict",
    "takes messages for another log": "wrong-participant",
    "obeys any coordinator": "wrong-coordinator",
    "obeys a log that was set back": "set-back other-nonce next-generation",
    "never asks": "asks told-commit told-abort told-by-another",
    "goes by the clock": "asks",
    "asks under another name": "asks",
    "believes anybody": "told-by-another",
    "shows no branches": "branches",
}
# The checks that are run; all of the basic ones where nothing is said.
WANTED = {None: BASICS + DOUBTS, "waits with its lock": ["conflict"],
          "never asks": ["asks", "told-commit", "told-abort", "told-by-another"],
          "believes anybody": ["told-by-another"],
          **dict.fromkeys(("goes by the clock", "asks under another name", "shows no branches"), DOUBTS)}
IMPATIENT = ("never asks", "waits with its lock", "believes anybody")


class Conformance(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def supervise(self, command):
        process = Supervised(self.folder, command)
        self.addCleanup(process.close)
        return process

    def start_tickets(self):
        path = os.path.join(ROOT, "docs/examples/tickets.py")
        return self.supervise(lambda port: [sys.executable, path, port, "tickets", "40"])

    def test_the_sqlite_agent_conforms(self):
        with sqlite3.connect(os.path.join(self.folder, "a.db")) as db:
            db.executescript("CREATE TABLE crashtest_accounts(id INTEGER PRIMARY KEY NOT NULL,"
                             " balance INTEGER NOT NULL CHECK (balance >= 0));"
                             "INSERT INTO crashtest_accounts VALUES (1, 100)")
        db.close()
        agent = self.supervise(lambda port: [os.path.join(BIN, "assent-agent"), "sqlite:a.db", "--name",
                                             "a", "--data", "log", "--listen", "127.0.0.1:" + port])
        status, results, document = conformance(agent.daemon.url, "--restart-command",
                                                agent.restart_command())
        self.assertEqual((status, set(results.values())), (0, {"pass"}), document)
        self.assertEqual(document["passed"], len(results))
        self.assertTrue(set(BASICS + DOUBTS) < set(results))

    def test_the_example_conforms(self):
        example = self.start_tickets()
        status, results, document = conformance(example.daemon.url, "--statements", TICKETS,
                                                "--restart-command", example.restart_command())
        self.assertEqual((status, failed(results)), (0, set()), document)
        self.assertEqual({n for n, r in results.items() if r == "skip"},
                         {"live", "reads", "one-phase-reads", "resolve"}, document)

    def test_a_lost_log_is_found(self):
        example = self.start_tickets()
        command = example.restart_command("rm -r tickets")
        status, results, document = conformance(example.daemon.url, "--statements", TICKETS,
                                                "--restart-command", f"cd '{self.folder}' && {command}",
                                                "--patience", "10s", "--only",
                                                "restart-id,restart-asks,restart-prepared,restart-ended")
        self.assertEqual((status, failed(results)),
                         (1, {"restart-id", "restart-asks", "restart-prepared", "restart-ended"}), document)

    def serve_with(self, fault):
        """What the suite says of it."""
        wanted = WANTED.get(fault, BASICS)
        patience = f"{SHORT_S}s" if fault in IMPATIENT else "60s"
        served = Served(os.path.join(self.folder, str(fault)), fault)
        try:
            return conformance(served.url, "--statements", SHOP, "--patience", patience, "--only", ",".join(wanted))
        finally:
            served.close()

    def test_each_fault_is_found(self):
        with concurrent.futures.ThreadPoolExecutor(SUITES) as pool:
            said = dict(zip(FAULTS, pool.map(self.serve_with, FAULTS)))
        for fault, expected in FAULTS.items():
            with self.subTest(fault):
                status, results, document = said[fault]
                wanted = WANTED.get(fault, BASICS)
                self.assertEqual(failed(results), set(expected.split()) & set(wanted), document)
                self.assertEqual(status, 1 if expected else 0)
                self.assertEqual(len(results), len(wanted))

    def test_wrong_usage(self):
        self.assertEqual(conformance("http://127.0.0.1:9", "--only", "ready,redy")[0], 2)
        self.assertEqual(conformance("http://127.0.0.1:9", "--statements", '{"write": []}')[0], 2)
        self.assertEqual(conformance("http://127.0.0.1:9", "--statements", '{"writes": 1}')[0], 2)
        self.assertEqual(conformance("http://127.0.0.1:9", "--statements", "/nonexistent")[0], 2)
        self.assertEqual(conformance("ftp://127.0.0.1:9")[0], 2)
        self.assertEqual(conformance("http://127.0.0.1:9")[0], 5)


if __name__ == "__main__":
    ROOT, BIN = map(os.path.abspath, sys.argv[1:3])
    spec = importlib.util.spec_from_file_location("tickets", os.path.join(ROOT, "docs/examples/tickets.py"))
    tickets = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tickets)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
