"""usage: test_interactive.py [TEST…] DIRECTORY; transactions that read, think, and write: their
steps, their end, and all that may go wrong in between, at the real daemons."""

import contextlib
import signal
import sqlite3
import sys
import threading
import time

import checks
import wire

LONG_MS = 60000
READ = "SELECT balance FROM accounts WHERE id = 1"
TAKE = "UPDATE accounts SET balance = balance - 10 WHERE id = 1"
GIVE = "UPDATE accounts SET balance = balance + 10 WHERE id = 1"


class Interactive(checks.Case):
    def open(self, **more):
        more.setdefault("timeout_ms", LONG_MS)
        answer = wire.ask(self.url, "POST", "/v1/transactions", dict(more, open=True))
        self.assertEqual(answer.status, 201, answer)
        document = answer.json()
        self.assertEqual((document["state"], document["outcome"], document["branches"]),
                         ("active", None, []))
        self.assertEqual(answer.headers["location"], "/v1/transactions/" + document["id"])
        self.addCleanup(self.post, document["id"], "abort")  # whatever becomes of the test
        return document["id"]

    def post(self, txn, word, body=None, headers=None):
        return wire.ask(self.url, "POST", "/v1/transactions/%s/%s" % (txn, word), body, headers)

    def step(self, txn, participant, *statements):
        return self.post(txn, "statements", {
            "participant": participant,
            "statements": [s if isinstance(s, dict) else {"sql": s} for s in statements]})

    def does(self, txn, participant, *statements):
        answer = self.step(txn, participant, *statements)
        self.assertEqual(answer.status, 200, answer)
        return answer.json()["results"]

    def commits(self, txn):
        answer = self.post(txn, "commit")
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual((answer.json()["state"], answer.json()["outcome"]),
                         ("committed", "commit"))
        return answer.json()

    def is_over(self, txn, code, answer):
        """Aborted for this cause, and only an abort is accepted from now on."""
        document = self.problem(answer, 409, "aborted")
        self.assertEqual((document["id"], document["outcome"]), (txn, "abort"))
        self.assertEqual(document["cause"]["code"], code, document)
        self.problem(self.step(txn, "west", READ), 409, "aborted")
        self.problem(self.post(txn, "commit"), 409, "aborted")
        ended = self.post(txn, "abort")
        self.assertEqual((ended.status, ended.json()["state"]), (200, "aborted"))
        return document

    def nothing_is_held(self):
        for name in ("east", "west"):
            url = self.world.daemons[name].url
            wire.until(lambda: not wire.ask(url, "GET", "/v1/branches").json()["items"],
                       name + " holds nothing")
        self.assertEqual((self.world.balance("east"), self.world.balance("west")), self.balances)
        self.assertEqual(wire.metrics(self.url)["assent_transactions_open"], 0)
        self.moves_money()

    # ---- Steps ----

    def test_read_decide_and_write(self):
        txn = self.open(label="think")
        east, west = self.balances
        self.assertEqual(self.does(txn, "east", READ),
                         [{"columns": ["balance"], "rows": [[east]]}])
        self.assertEqual(self.does(txn, "east", {
            "sql": "UPDATE accounts SET balance = ? WHERE id = 1", "params": [east - 10],
            "expect": {"rows": 1}}), [{"rows_affected": 1}])
        self.assertEqual(self.does(txn, "west", GIVE, READ)[1]["rows"], [[west + 10]])
        self.assertEqual(self.does(txn, "east", READ, "SELECT count(*) FROM accounts"), [
            {"columns": ["balance"], "rows": [[east - 10]]},
            {"columns": ["count(*)"], "rows": [[10]]}])
        self.assertEqual((self.world.balance("east"), self.world.balance("west")), self.balances)
        shown = wire.ask(self.url, "GET", "/v1/transactions/" + txn).json()
        self.assertEqual((shown["state"], shown["outcome"]), ("active", None))
        self.assertEqual([b["state"] for b in shown["branches"]], ["active", "active"])
        listed = wire.ask(self.url, "GET", "/v1/transactions?state=active").json()["items"]
        self.assertEqual([item["id"] for item in listed], [txn])
        ended = self.commits(txn)
        self.assertEqual([b["vote"] for b in ended["branches"]], ["yes", "yes"])
        self.assertEqual((self.world.balance("east"), self.world.balance("west")),
                         (east - 10, west + 10))
        again = self.commits(txn)
        self.assertEqual(again["branches"], ended["branches"])
        self.problem(self.step(txn, "east", READ), 409, "not-active")
        self.problem(self.post(txn, "abort"), 409, "already-decided")

    def test_one_that_only_reads(self):
        txn = self.open()
        self.does(txn, "east", READ)
        self.does(txn, "west", READ)
        ended = self.commits(txn)
        self.assertEqual([b["vote"] for b in ended["branches"]], ["read_only", "read_only"])
        self.nothing_is_held()

    def test_one_that_does_nothing(self):
        self.assertEqual(self.commits(self.open())["branches"], [])
        self.nothing_is_held()

    def test_triggers_keys_and_rows_that_come_and_go(self):
        with contextlib.closing(sqlite3.connect(self.world.path("east.db"))) as bank:
            bank.executescript("""
                CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY, name TEXT UNIQUE,
                    parent INTEGER REFERENCES items (id) ON DELETE CASCADE);
                CREATE TABLE IF NOT EXISTS noted (name TEXT PRIMARY KEY, times INTEGER);
                CREATE TRIGGER IF NOT EXISTS note AFTER INSERT ON items BEGIN
                    INSERT INTO noted VALUES (new.name, 1)
                        ON CONFLICT (name) DO UPDATE SET times = times + 1; END;
                DELETE FROM items; DELETE FROM noted;""")
        txn = self.open()
        self.does(txn, "east", "INSERT INTO items (name) VALUES ('a')",
                  "INSERT INTO items (name, parent) SELECT 'b', id FROM items WHERE name = 'a'")
        self.does(txn, "east", "INSERT INTO items (name, parent) SELECT 'c', id FROM items"
                               " WHERE name = 'b'")
        self.does(txn, "east", "UPDATE items SET name = 'x' WHERE name = 'a'",
                  "INSERT INTO items (name) VALUES ('a')")
        self.does(txn, "east", "DELETE FROM items WHERE name = 'b'")
        self.assertEqual(self.does(txn, "east", "SELECT name FROM items ORDER BY name",
                                   "SELECT * FROM noted ORDER BY name"),
                         [{"columns": ["name"], "rows": [["a"], ["x"]]},
                          {"columns": ["name", "times"], "rows": [["a", 2], ["b", 1], ["c", 1]]}])
        self.commits(txn)
        with contextlib.closing(sqlite3.connect(self.world.path("east.db"))) as bank:
            self.assertEqual(bank.execute("SELECT name FROM items ORDER BY name").fetchall(),
                             [("a",), ("x",)])
            self.assertEqual(bank.execute("SELECT * FROM noted ORDER BY name").fetchall(),
                             [("a", 2), ("b", 1), ("c", 1)])
        self.moves_money()

    # ---- What dooms it ----

    def test_an_error_dooms_it(self):
        for code, statement in (
                ("sql_error", "SELECT nothing FROM accounts"),
                ("constraint", "UPDATE accounts SET balance = -1 WHERE id = 1"),
                ("expectation_failed", {"sql": READ, "expect": {"rows": 2}}),
                ("not_supported", "CREATE TABLE t (id INTEGER PRIMARY KEY)")):
            with self.subTest(code=code):
                txn = self.open()
                self.does(txn, "west", GIVE)
                self.does(txn, "east", TAKE)
                document = self.is_over(txn, code, self.step(txn, "east", READ, statement))
                self.assertEqual((document["cause"]["participant"],
                                  document["cause"]["statement"]), ("east", 1))
                self.nothing_is_held()
                self.balances = self.world.balance("east"), self.world.balance("west")

    def test_a_bad_request_does_not_doom_it(self):
        txn = self.open()
        self.does(txn, "east", TAKE)
        self.problem(self.step(txn, "north", READ), 422, "invalid", "participant")
        self.problem(self.post(txn, "statements", {"participant": "east"}), 422, "invalid",
                     "statements")
        self.problem(self.post(txn, "statements", {"participant": "east", "statements": [{}]}),
                     422, "invalid", "statements[0].sql")
        self.problem(self.post(txn, "statements", b"{"), 400, "malformed")
        self.does(txn, "west", GIVE)
        self.commits(txn)

    def test_abort(self):
        txn = self.open()
        self.does(txn, "east", TAKE)
        self.does(txn, "west", GIVE)
        answer = self.post(txn, "abort")
        self.assertEqual((answer.status, answer.json()["state"]), (200, "aborted"))
        self.assertEqual(answer.json()["cause"]["code"], "client_abort")
        self.nothing_is_held()

    def test_nobody_goes_on(self):
        txn = self.open(timeout_ms=400)
        self.step(txn, "east", TAKE)
        document = wire.ask(self.url, "GET", "/v1/transactions/%s?wait=60s" % txn).json()
        self.assertEqual((document["state"], document["cause"]["code"]), ("aborted", "timeout"))
        self.is_over(txn, "timeout", self.post(txn, "commit"))
        self.nothing_is_held()

    # ---- Others ----

    def test_a_row_that_was_read_and_has_changed_is_not_overwritten(self):
        txn = self.open()
        east, _ = self.balances
        self.does(txn, "east", READ)
        self.moves_money()
        self.balances = self.world.balance("east"), self.world.balance("west")
        document = self.is_over(txn, "conflict", self.step(txn, "east", {
            "sql": "UPDATE accounts SET balance = ? WHERE id = 1", "params": [east + 1]}))
        self.assertTrue(document["retryable"])
        self.nothing_is_held()

    def test_serializable_keeps_what_it_read(self):
        txn = self.open(isolation="serializable")
        self.does(txn, "east", "SELECT sum(balance) FROM accounts")
        late = wire.ask(self.url, "POST", "/v1/transactions",
                        dict(checks.transfer(), timeout_ms=300))
        self.assertIn(self.problem(late, 409, "aborted")["cause"]["code"],
                      ("conflict", "timeout"))
        self.does(txn, "east", TAKE)
        self.does(txn, "west", GIVE)
        self.commits(txn)
        self.moves_money()

    def test_locks_are_waited_for_by_the_older_and_refused_to_the_younger(self):
        old, young = self.open(), self.open()
        self.does(young, "east", TAKE)
        waits = []
        older = threading.Thread(target=lambda: waits.append(self.step(old, "east", GIVE)))
        older.start()
        self.does(old, "west", READ) if not older.is_alive() else None
        self.post(young, "abort")
        older.join()
        self.assertEqual(waits[0].status, 200, waits[0])
        young = self.open()
        self.is_over(young, "conflict", self.step(young, "east", TAKE))
        self.post(old, "abort")
        self.nothing_is_held()

    def test_the_younger_commits_while_the_older_waits_for_it(self):
        old, young = self.open(), self.open()
        self.does(young, "east", TAKE)
        answers = []
        waits = wire.metrics(self.east)["assent_resource_waits_total"]
        older = threading.Thread(target=lambda: answers.append(self.step(old, "east", GIVE)))
        older.start()
        wire.until(lambda: wire.metrics(self.east)["assent_resource_waits_total"] > waits, "it waits")
        self.does(young, "west", GIVE)
        self.does(young, "east", READ)
        self.commits(young)
        older.join()
        self.assertEqual(answers[0].status, 200, answers[0])
        self.does(old, "west", TAKE)
        self.commits(old)
        self.nothing_is_held()

    def test_who_is_at_work_at_one_participant_is_not_idle_at_the_other(self):
        txn = self.open(timeout_ms=1500)
        self.does(txn, "east", TAKE)
        until = time.monotonic() + 4
        while time.monotonic() < until:
            self.does(txn, "west", READ)
        self.does(txn, "west", GIVE)
        self.commits(txn)

    def test_a_program_beside_the_agent(self):
        txn = self.open()
        self.does(txn, "east", TAKE)
        with contextlib.closing(sqlite3.connect(self.world.path("east.db"))) as bank:
            bank.execute("UPDATE accounts SET balance = balance + 1 WHERE id = 1")
            bank.commit()
        self.balances = self.world.balance("east"), self.world.balance("west")
        self.is_over(txn, "conflict", self.step(txn, "east", TAKE))
        self.nothing_is_held()

    def test_no_update_is_lost(self):
        """Read a number, add one, write the sum; a conflict means all over again."""
        counted, failures = [], []

        def count(times):
            try:
                while times > 0:
                    txn = self.open()
                    answer = self.step(txn, "east", "SELECT balance FROM accounts WHERE id = 5")
                    value = answer.status == 200 and answer.json()["results"][0]["rows"][0][0]
                    answer = self.step(txn, "east", {
                        "sql": "UPDATE accounts SET balance = ? WHERE id = 5",
                        "params": [value + 1]})
                    if answer.status == 200 and self.post(txn, "commit").status == 200:
                        counted.append(value)
                        times -= 1
            except Exception as error:  # pylint: disable=broad-except
                failures.append(error)
        before = self.world.balance("east", 5)
        clients = [threading.Thread(target=count, args=(8,)) for _ in range(4)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        self.assertEqual(failures, [])
        self.assertEqual(sorted(counted), list(range(before, before + 32)))
        self.assertEqual(self.world.balance("east", 5), before + 32)

    # ---- One at a time ----

    def test_one_step_at_a_time(self):
        txn = self.open()
        east = self.world.daemons["east"].process
        self.does(txn, "east", READ)
        east.send_signal(signal.SIGSTOP)
        try:
            answers = []
            first = threading.Thread(target=lambda: answers.append(self.step(txn, "east", TAKE)))
            sent = wire.metrics(self.url)['assent_messages_total{op="execute"}']
            first.start()
            wire.until(lambda: wire.metrics(self.url)['assent_messages_total{op="execute"}'] > sent,
                       "the step has left")
            self.problem(self.step(txn, "west", READ), 409, "busy")
            self.problem(self.post(txn, "commit"), 409, "busy")
        finally:
            east.send_signal(signal.SIGCONT)
        first.join()
        self.assertEqual(answers[0].status, 200, answers[0])
        self.post(txn, "abort")
        self.nothing_is_held()

    def test_abort_while_a_step_is_under_way(self):
        txn = self.open()
        east = self.world.daemons["east"].process
        east.send_signal(signal.SIGSTOP)
        try:
            answers = []
            first = threading.Thread(target=lambda: answers.append(self.step(txn, "east", TAKE)))
            sent = wire.metrics(self.url)['assent_messages_total{op="execute"}']
            first.start()
            wire.until(lambda: wire.metrics(self.url)['assent_messages_total{op="execute"}'] > sent,
                       "the step has left")
            self.post(txn, "abort")
            first.join()
            document = self.problem(answers[0], 409, "aborted")
            self.assertEqual(document["cause"]["code"], "client_abort")
        finally:
            east.send_signal(signal.SIGCONT)
        self.nothing_is_held()

    # ---- Refusals ----

    def test_what_is_not_taken(self):
        self.problem(wire.ask(self.url, "POST", "/v1/transactions", {"open": True},
                              {"Idempotency-Key": "k"}), 422, "invalid", "Idempotency-Key")
        self.problem(wire.ask(self.url, "POST", "/v1/transactions",
                              {"open": True, "branches": []}), 422, "invalid", "branches")
        for word in ("statements", "commit"):
            self.problem(self.post(checks.NOBODY, word, {}), 404, "not-found")
        whole = wire.ask(self.url, "POST", "/v1/transactions", checks.transfer()).json()["id"]
        self.problem(self.post(whole, "commit"), 409, "not-active")
        self.problem(self.step(whole, "east", READ), 409, "not-active")


class Deaths(Interactive):
    """The same world, whose daemons die while a transaction is open."""

    def restart_coordinator(self, *flags):
        self.world.start_coordinator(*flags)
        wire.until(lambda: wire.ask(self.url, "GET", "/readyz").status == 200, "ready")

    def test_the_coordinator_dies(self):
        txn = self.open()
        self.does(txn, "east", TAKE)
        self.does(txn, "west", GIVE)
        self.world.daemons["coordinator"].kill()
        self.restart_coordinator()
        for word in ("statements", "commit", "abort"):
            document = self.problem(self.post(txn, word, {}), 404, "not-found")
            self.assertIs(document["known"], False)
        self.moves_money()  # the agents hear of its new life, and let go
        self.balances = self.world.balance("east"), self.world.balance("west")
        self.nothing_is_held()

    def test_the_coordinator_dies_before_its_client_hears_of_the_commit(self):
        txn = self.open()
        self.does(txn, "east", TAKE)
        self.does(txn, "west", GIVE)
        self.commits(txn)
        self.world.daemons["coordinator"].kill()
        self.restart_coordinator()
        self.commits(txn)
        self.balances = self.world.balance("east"), self.world.balance("west")
        self.nothing_is_held()

    def test_the_coordinator_dies_while_a_step_is_under_way(self):
        old, young = self.open(timeout_ms=600000), self.open(timeout_ms=600000)
        self.does(young, "east", TAKE)
        self.does(old, "east", READ)
        waits = wire.metrics(self.east)["assent_resource_waits_total"]
        older = threading.Thread(target=lambda: self.step(old, "east", GIVE))
        older.start()
        wire.until(lambda: wire.metrics(self.east)["assent_resource_waits_total"] > waits, "it waits")
        self.world.daemons["coordinator"].kill()
        older.join()
        self.restart_coordinator()
        self.moves_money()  # the agents hear of its new life, and let go
        self.balances = self.world.balance("east"), self.world.balance("west")
        self.nothing_is_held()

    def test_steps_that_wait_leave_room_for_the_one_that_they_wait_for(self):
        self.world.daemons["coordinator"].stop()
        self.restart_coordinator("--lanes-max", "2")
        oldest, old, young = (self.open() for _ in range(3))
        self.does(young, "east", TAKE)
        answers, threads = [], []
        for txn in (old, oldest):
            waits = wire.metrics(self.east)["assent_resource_waits_total"]
            threads.append(threading.Thread(
                target=lambda txn=txn: answers.append(self.step(txn, "east", TAKE))))
            threads[-1].start()
            wire.until(lambda: wire.metrics(self.east)["assent_resource_waits_total"] > waits, "it waits")
        self.does(young, "west", GIVE)
        self.does(young, "east", READ)
        self.commits(young)
        for txn in (old, oldest):
            self.post(txn, "abort")
        for thread in threads:
            thread.join()
        self.balances = self.world.balance("east"), self.world.balance("west")
        self.nothing_is_held()
        self.world.daemons["coordinator"].stop()
        self.restart_coordinator()

    def test_a_participant_dies_between_two_steps(self):
        for again in ("step", "commit"):
            with self.subTest(again=again):
                txn = self.open()
                self.does(txn, "west", GIVE)
                self.does(txn, "east", TAKE)
                self.world.daemons["east"].kill()
                self.world.start_agent("east")
                answer = (self.step(txn, "east", READ) if again == "step"
                          else self.post(txn, "commit"))
                self.is_over(txn, "work_lost", answer)
                self.nothing_is_held()
                self.balances = self.world.balance("east"), self.world.balance("west")

    def test_a_participant_is_not_there(self):
        self.world.daemons["east"].kill()
        txn = self.open()
        self.does(txn, "west", GIVE)
        self.is_over(txn, "unreachable", self.step(txn, "east", TAKE))
        self.world.start_agent("east")
        self.nothing_is_held()

    def test_a_clean_stop_aborts_what_is_open(self):
        txn = self.open()
        self.does(txn, "east", TAKE)
        self.assertEqual(self.world.daemons["coordinator"].stop(), 0)
        url = self.world.daemons["east"].url
        wire.until(lambda: not wire.ask(url, "GET", "/v1/branches").json()["items"], "told")
        self.restart_coordinator()
        self.nothing_is_held()

    def test_a_commit_that_cannot_be_waited_for_is_not_begun(self):
        self.world.daemons["coordinator"].stop()
        self.restart_coordinator("--waiters-max", "1")
        txn = self.open()
        self.does(txn, "east", TAKE)
        answers = []
        watcher = threading.Thread(target=lambda: answers.append(
            wire.ask(self.url, "GET", "/v1/transactions/%s?wait=60s" % txn)))
        watcher.start()
        wire.until(lambda: wire.ask(self.url, "POST", "/v1/transactions",
                                    {"open": True, "timeout_ms": 1000}).status == 503, "one waits")
        self.problem(self.post(txn, "commit"), 503, "unavailable", words="--waiters-max")
        self.does(txn, "west", GIVE)  # it goes on
        self.step(txn, "west", "SELECT nothing FROM accounts")
        watcher.join()
        self.assertEqual(answers[0].json()["state"], "aborted")
        self.world.daemons["coordinator"].stop()
        self.restart_coordinator()

    def test_a_limit(self):
        self.world.daemons["coordinator"].stop()
        self.restart_coordinator("--open-max", "1")
        txn = self.open()
        answer = wire.ask(self.url, "POST", "/v1/transactions", {"open": True})
        self.problem(answer, 503, "unavailable", words="--open-max")
        self.assertIn("retry-after", answer.headers)
        self.post(txn, "abort")
        self.commits(self.open())
        self.world.daemons["coordinator"].stop()
        self.restart_coordinator()


for name in [name for name in dir(Interactive) if name.startswith("test_")]:
    setattr(Deaths, name, None)  # once is enough

if __name__ == "__main__":
    checks.main(sys.argv)
