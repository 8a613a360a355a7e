"""A coordinator and agents around real servers and SQLite files, for tests."""

import http.client
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from daemons import Daemon  # noqa: E402  (by the path above)

WAIT_SECONDS = 60


def request(url, method, path, body=None, timeout=60):
    """(status, document)"""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.startswith(b"{") else text
    finally:
        connection.close()


def wait_until(what, words, story=lambda: ""):
    """Until it is true; a loaded machine is given much time. @story: what a failure tells."""
    end = time.monotonic() + WAIT_SECONDS
    while not what():
        if time.monotonic() > end:
            raise AssertionError("still not so after %d seconds: %s%s"
                                 % (WAIT_SECONDS, words, story()))
        time.sleep(0.05)


class World:
    """banks: name -> a Server, in which the bank's database has the same name, or None: SQLite."""

    def __init__(self, programs, banks, accounts=10, flags=()):
        self.programs = programs
        self.directory = tempfile.mkdtemp(prefix="assent-servers-")
        self.banks = banks
        self.accounts = accounts
        self.flags = list(flags)
        self.daemons = {}
        self.urls = {}
        self.resources = {}
        for name, server in banks.items():
            self.make_bank(name, server)
            self.start_agent(name)
        self.start_coordinator()

    def make_bank(self, name, server):
        if server is not None:
            self.database(name)
            server.make_bank(self.database(name), self.accounts)
            self.resources[name] = server.url(self.database(name))
            return
        self.resources[name] = "sqlite:" + name + ".db"
        bank = sqlite3.connect(os.path.join(self.directory, name + ".db"))
        bank.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY,"
                     " balance INTEGER NOT NULL CHECK (balance >= 0))")
        bank.execute("CREATE TABLE ledger (txn TEXT, leg TEXT, amount INTEGER,"
                     " PRIMARY KEY (txn, leg))")
        bank.executemany("INSERT INTO accounts VALUES (?, 100)",
                         [(i,) for i in range(1, self.accounts + 1)])
        bank.commit()
        bank.close()

    def database(self, name):
        """One server may serve several worlds and banks."""
        return os.path.basename(self.directory).replace("-", "_") + "_" + name

    def address(self, name):
        return self.urls[name].split("://")[1] if name in self.urls else "127.0.0.1:0"

    def launch(self, name, words, failpoints):
        if failpoints:
            words = [*words, "--failpoints", failpoints]
        self.daemons[name] = Daemon(words, self.directory)
        self.urls[name] = self.daemons[name].url

    def start_agent(self, name, failpoints=None, flags=()):
        self.launch(name, [os.path.join(self.programs, "assent-agent"), self.resources[name],
                           "--name", name, "--data", name, "--listen", self.address(name),
                           "--ask-first", "100ms", *self.flags, *flags], failpoints)

    def start_coordinator(self, failpoints=None, flags=()):
        words = [os.path.join(self.programs, "assentd"), "--data", "coordinator", "--listen",
                 self.address("coordinator")]
        for name in self.banks:
            words += ["--participant", "%s=%s" % (name, self.urls[name])]
        self.launch("coordinator", [*words, *flags], failpoints)

    def revive(self):
        """Start what was killed; what ended by itself in another way is a failure."""
        for name in [*self.banks, "coordinator"]:
            if self.daemons[name].process.poll() is not None:
                status = self.daemons[name].wait()
                if status not in (0, -9):
                    raise AssertionError("%s ended with %d:\n%s" % (
                        name, status, "".join(self.daemons[name].lines[-40:])))
                if name == "coordinator":
                    self.start_coordinator()
                else:
                    self.start_agent(name)

    def close(self):
        for daemon in self.daemons.values():
            if daemon.process.poll() is None:
                daemon.kill()
        for name, server in self.banks.items():
            if server is not None and server.process.poll() is None:
                server.drop(self.database(name))
        shutil.rmtree(self.directory)

    # ---- What clients do ----

    def placeholders(self, name):
        return ("?1", "?2") if self.banks[name] is None else self.banks[name].placeholders

    def move(self, name, account, amount, txn=None, leg=None):
        """A branch that adds to an account, and notes it in the ledger."""
        a, b = self.placeholders(name)
        statements = [{"sql": "UPDATE accounts SET balance = balance + %s WHERE id = %s" % (a, b),
                       "params": [amount, account], "expect": {"rows": 1}}]
        if txn is not None:
            statements.append({"sql": "INSERT INTO ledger VALUES (%s, %s, %d)" % (a, b, amount),
                               "params": [txn, leg]})
        return {"participant": name, "statements": statements}

    def submit(self, *branches, timeout_ms=20000, **members):
        return request(self.urls["coordinator"], "POST", "/v1/transactions",
                       {"branches": list(branches), "timeout_ms": timeout_ms, **members})

    def run(self, name, *statements, **members):
        """A transaction with these statements at one participant, and one that writes at another
        when there is one, so that it is in two phases."""
        branches = [{"participant": name, "statements": [
            s if isinstance(s, dict) else {"sql": s} for s in statements]}]
        others = [other for other in self.banks if other != name]
        if others:
            branches.append(self.move(others[0], 10, 0))
        return self.submit(*branches, **members)

    def agent(self, name, method, path, body=None):
        return request(self.urls[name], method, path, body)

    # ---- What must hold ----

    def query(self, name, sql):
        server = self.banks[name]
        if server is not None:
            return server.sql(sql, self.database(name))
        bank = sqlite3.connect(os.path.join(self.directory, name + ".db"), timeout=30)
        try:
            return ["|".join(str(value) for value in row) for row in bank.execute(sql)]
        finally:
            bank.close()

    def balance(self, name, account):
        return int(self.query(name, "SELECT balance FROM accounts WHERE id = %d" % account)[0])

    def total(self):
        return sum(int(self.query(name, "SELECT sum(balance) FROM accounts")[0])
                   for name in self.banks)

    def legs(self):
        """txn -> the legs that are in the ledgers"""
        found = {}
        for name in self.banks:
            for line in self.query(name, "SELECT txn, leg FROM ledger"):
                txn, leg = line.split("|")
                found.setdefault(txn, []).append(leg)
        return found

    def nothing_in_doubt(self):
        for name, server in self.banks.items():
            if server is not None and server.prepared(self.database(name)):
                return False
            if self.agent(name, "GET", "/v1/branches")[1]["items"]:
                return False
        return True

    def await_rest(self):
        wait_until(self.nothing_in_doubt, "nothing is in doubt", self.story)

    def story(self):
        """What everybody has at the moment, and said last."""
        parts = []
        for name, daemon in self.daemons.items():
            server = self.banks.get(name)
            parts.append("---- %s ----" % name)
            if server is not None:
                parts += [server.sql(sql, fail=False) for sql in server.state] + [server.log()]
            if name in self.banks:
                parts.append(self.agent(name, "GET", "/v1/branches")[1]["items"])
            parts.append("".join(daemon.lines[-60:]))
        return "\n".join([""] + ["\n".join(map(str, part)) if isinstance(part, list) else str(part)
                                 for part in parts])

    def check(self, test, told=(), total=None):
        """told: txn -> True (committed), False (aborted), None (unknown to its client)"""
        self.await_rest()
        test.assertEqual(self.total(), total or 100 * self.accounts * len(self.banks))
        legs = self.legs()
        for txn, there in legs.items():
            test.assertEqual(sorted(there), ["from", "to"], txn)
        for txn, outcome in dict(told).items():
            if outcome is not None:
                test.assertEqual(txn in legs, outcome, txn)


class Load:
    """Clients that transfer between banks until they are told to stop."""

    def __init__(self, world, clients, accounts=10):
        self.world = world
        self.told = {}
        self.stopping = threading.Event()
        self.accounts = accounts
        self.threads = [threading.Thread(target=self.client, args=(i,)) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def client(self, number):
        names = list(self.world.banks)
        for turn in range(1000000):
            if self.stopping.is_set():
                return
            txn = "%d-%d" % (number, turn)
            giver, taker = (names[(number + turn + i) % len(names)] for i in (0, 1))
            one = 1 + (number * 7 + turn) % self.accounts
            two = 1 + (number * 3 + turn * 5) % self.accounts
            self.told[txn] = None
            try:
                status, answer = self.world.submit(
                    self.world.move(giver, one, -1, txn, "from"),
                    self.world.move(taker, two, 1, txn, "to"), timeout_ms=5000)
                outcome = answer.get("outcome") if isinstance(answer, dict) else None
                if status in (201, 409):
                    self.told[txn] = outcome == "commit"
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.02)  # somebody was killed: not so fast

    def committed(self):
        return sum(1 for outcome in list(self.told.values()) if outcome)

    def await_commits(self, more):
        least = self.committed() + more
        wait_until(lambda: self.committed() >= least, "%d more are committed" % more)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(120)
        return self.told
