"""Transactions that read, think and write, at a database server and a SQLite file: their steps, their
end, and all that may go wrong in between. For unittest.TestCase classes that say which server, and
how to look into it."""

import threading

import world
from world import wait_until

READ = "SELECT balance FROM accounts WHERE id = 1"
TAKE = "UPDATE accounts SET balance = balance - 10 WHERE id = 1"
GIVE = "UPDATE accounts SET balance = balance + 10 WHERE id = 1"


class Steps:
    """east and west are databases of the server, file is SQLite's."""

    programs = None
    open_max = 3

    @classmethod
    def make_server(cls):
        raise NotImplementedError

    def open_sessions(self, name):
        """How many sessions of the agent are in a transaction at the server."""
        raise NotImplementedError

    def end_sessions(self, name):
        """As an administrator would."""
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        cls.server = cls.make_server()
        cls.addClassCleanup(cls.server.close)
        cls.world = world.World(cls.programs, {"east": cls.server, "west": cls.server, "file": None},
                                flags=["--sessions", "4", "--open-max", str(cls.open_max),
                                       "--ask-max", "1s", "--result-max", "64k"])
        cls.addClassCleanup(cls.world.close)

    def setUp(self):
        for name in ("east", "west"):
            self.world.query(name, "UPDATE accounts SET balance = 100 WHERE id = 1")
        self.total = self.world.total()

    def tearDown(self):
        self.world.revive()
        self.world.check(self, total=self.total)
        for name in ("east", "west"):
            wait_until(lambda: self.open_sessions(name) == 0, "no session is left in a transaction")

    def coordinator(self, method, path, body=None):
        return world.request(self.world.urls["coordinator"], method, path, body)

    def open(self, **more):
        status, answer = self.coordinator("POST", "/v1/transactions",
                                          dict({"timeout_ms": 60000}, open=True, **more))
        self.assertEqual(status, 201, answer)
        self.addCleanup(self.post, answer["id"], "abort")
        return answer["id"]

    def post(self, txn, word, body=None):
        return self.coordinator("POST", "/v1/transactions/%s/%s" % (txn, word), body or {})

    def step(self, txn, name, *statements):
        return self.post(txn, "statements", {"participant": name, "statements": [
            s if isinstance(s, dict) else {"sql": s} for s in statements]})

    def does(self, txn, name, *statements):
        status, answer = self.step(txn, name, *statements)
        self.assertEqual(status, 200, answer)
        return answer["results"]

    def commits(self, txn):
        status, answer = self.post(txn, "commit")
        self.assertEqual((status, answer.get("outcome")), (200, "commit"), answer)
        return answer

    def is_refused(self, answer, code):
        self.assertEqual((answer[0], answer[1].get("outcome")), (409, "abort"), answer)
        self.assertEqual(answer[1]["cause"]["code"], code, answer)
        return answer[1]["cause"]

    def is_lost(self, answer):
        """Noticed before the step was sent, or by it."""
        self.is_refused(answer, "work_lost" if "not there any more" in str(answer[1])
                        else "participant_error")

    def balances(self):
        return tuple(self.world.balance(name, 1) for name in ("east", "west", "file"))

    # ---- Steps ----

    def test_read_decide_and_write_everywhere(self):
        east, west, file = self.balances()
        place = self.world.placeholders("east")
        txn = self.open()
        self.assertEqual(self.does(txn, "east", READ),
                         [{"columns": ["balance"], "rows": [[east]]}])
        self.assertEqual(self.does(txn, "east", {
            "sql": "UPDATE accounts SET balance = %s WHERE id = %s" % place,
            "params": [east - 20, 1], "expect": {"rows": 1}}), [{"rows_affected": 1}])
        self.assertEqual(self.does(txn, "west", GIVE, READ)[1]["rows"], [[west + 10]])
        self.assertEqual(self.does(txn, "file", GIVE, READ)[1]["rows"], [[file + 10]])
        self.assertEqual(self.does(txn, "east", READ)[0]["rows"], [[east - 20]])
        self.assertEqual(self.balances(), (east, west, file))
        ended = self.commits(txn)
        self.assertEqual([b["vote"] for b in ended["branches"]], ["yes", "yes", "yes"])
        self.assertEqual(self.balances(), (east - 20, west + 10, file + 10))

    def test_one_that_only_reads(self):
        txn = self.open()
        self.does(txn, "east", READ)
        self.does(txn, "west", READ)
        self.assertEqual([b["vote"] for b in self.commits(txn)["branches"]],
                         ["read_only", "read_only"])

    def test_serializable_ones_that_read_what_the_other_writes(self):
        """Write skew: of two that each read both rows and change one, one must be refused."""
        first, second = (self.open(isolation="serializable") for _ in range(2))
        both = "SELECT sum(balance) FROM accounts WHERE id IN (2, 3)"
        self.does(first, "east", both)
        self.does(second, "east", both)
        ends = []
        for txn, account in ((first, 2), (second, 3)):
            status, _ = self.step(txn, "east", "UPDATE accounts SET balance = balance + 0"
                                               " WHERE id = %d" % account)
            ends.append(status == 200 and self.post(txn, "commit")[0] == 200)
        self.assertEqual(sorted(ends), [False, True])

    def test_aborted_by_its_client(self):
        before = self.balances()
        txn = self.open()
        self.does(txn, "east", TAKE)
        self.does(txn, "file", GIVE)
        self.assertEqual(self.post(txn, "abort")[0], 200)
        self.assertEqual(self.balances(), before)
        self.assertEqual(self.world.run("east", TAKE, GIVE)[0], 201)  # no lock is left

    def test_an_error_dooms_it(self):
        before = self.balances()
        txn = self.open()
        self.does(txn, "west", GIVE)
        self.does(txn, "east", TAKE)
        cause = self.is_refused(
            self.step(txn, "east", "UPDATE accounts SET balance = -1 WHERE id = 1"), "constraint")
        self.assertEqual(cause["sqlstate"][:2], "23")
        self.assertEqual((self.step(txn, "east", READ)[0], self.post(txn, "commit")[0]), (409, 409))
        self.assertEqual(self.balances(), before)

    def test_what_may_not_be_done_dooms_it_too(self):
        for sql in ("COMMIT", "ROLLBACK"):
            txn = self.open()
            self.does(txn, "east", TAKE)
            self.is_refused(self.step(txn, "east", sql), "not_supported")

    def test_two_that_want_the_same_row(self):
        before = self.balances()
        first, second = self.open(), self.open()
        self.does(first, "east", TAKE)
        self.is_refused(self.step(second, "east", GIVE), "conflict")
        self.does(first, "west", GIVE)
        self.commits(first)
        self.assertEqual(self.balances()[0], before[0] - 10)

    # ---- Limits and time ----

    def test_limit_of_open_branches(self):
        opened = [self.open() for _ in range(self.open_max)]
        for txn in opened:
            self.does(txn, "east", READ)
        late = self.open()
        cause = self.is_refused(self.step(late, "east", READ), "conflict")
        self.assertIn("--open-max", cause["detail"])
        self.assertEqual(self.world.run("east", GIVE, TAKE)[0], 201)  # others go on
        self.assertEqual(self.post(opened.pop(), "abort")[0], 200)
        opened.append(self.open())
        self.does(opened[-1], "east", READ)
        for txn in opened:
            self.commits(txn)

    def test_idle_for_too_long(self):
        before = self.balances()
        txn = self.open(timeout_ms=500)
        self.does(txn, "east", TAKE)
        wait_until(lambda: self.coordinator("GET", "/v1/transactions/" + txn)[1]["outcome"]
                   == "abort", "it is given up")
        wait_until(lambda: self.open_sessions("east") == 0, "its session is free")
        self.is_refused(self.step(txn, "east", READ), "timeout")
        self.assertEqual(self.balances(), before)

    def test_a_step_that_takes_too_long(self):
        txn = self.open(timeout_ms=700)
        self.does(txn, "east", TAKE)
        self.is_refused(self.step(txn, "east", self.sleep_sql(70)), "timeout")

    def test_a_step_is_ended_by_an_abort(self):
        """What sleeps at the server is cancelled there, and the session is free."""
        txn = self.open()
        self.does(txn, "east", TAKE)
        told = []
        client = threading.Thread(target=lambda: told.append(
            self.step(txn, "east", self.sleep_sql(71))))
        client.start()
        wait_until(lambda: self.at_work("east", self.sleep_sql(71)), "the step is at work")
        self.assertEqual(self.post(txn, "abort")[0], 200)
        client.join()
        self.assertEqual((told[0][0], told[0][1]["outcome"]), (409, "abort"), told)
        wait_until(lambda: not self.at_work("east", self.sleep_sql(71)), "it is cancelled")
        self.assertEqual(self.world.run("east", TAKE, GIVE)[0], 201)

    def test_results_that_are_too_large_doom_it(self):
        before = self.balances()
        txn = self.open()
        self.does(txn, "east", TAKE)
        cause = self.is_refused(self.step(txn, "east", self.large_sql(1000000)),
                                "not_supported")
        self.assertIn("--result-max", cause["detail"])
        self.assertEqual(self.balances(), before)

    def test_whole_ones_go_on_beside_all_that_may_be_open(self):
        """Sessions for interactive branches, for work and for decisions are apart."""
        opened = [self.open() for _ in range(self.open_max)]
        for i, txn in enumerate(opened):
            self.does(txn, "east", "UPDATE accounts SET balance = balance + 0 WHERE id = %d"
                      % (i + 7))
        load = world.Load(self.world, 8, accounts=6)
        load.await_commits(20)
        for txn in opened:
            self.does(txn, "west", READ)
            self.commits(txn)
        load.await_commits(5)
        self.world.check(self, load.stop(), total=self.total)

    def test_alone_at_one_participant(self):
        before = self.balances()
        for sql in (TAKE, GIVE):
            txn = self.open()
            self.does(txn, "east", TAKE)
            self.does(txn, "east", GIVE)
            self.does(txn, "east", sql)
            self.assertEqual([b["vote"] for b in self.commits(txn)["branches"]], ["yes"])
        self.assertEqual(self.balances(), before)

    # ---- Who dies in between ----

    def test_its_coordinator_is_gone_for_good(self):
        """The agent asks, hears nothing, and lets go by itself."""
        before = self.balances()
        txn = self.open(timeout_ms=500)
        self.does(txn, "east", TAKE)
        self.world.daemons["coordinator"].kill()
        wait_until(lambda: self.open_sessions("east") == 0, "its session is free")
        self.assertEqual(self.balances(), before)

    def test_the_agent_is_killed_at_each_call_of_a_commit(self):
        """What has begun to be committed has one outcome, and it is the one that is told."""
        for point in self.points:
            with self.subTest(point):
                before = self.balances()
                self.assertEqual(self.world.daemons["east"].stop(), 0)
                self.world.start_agent("east")
                txn = self.open(timeout_ms=5000)
                self.does(txn, "west", GIVE)
                self.assertEqual(self.world.daemons["east"].stop(), 0)
                self.world.start_agent("east", point + "=kill")
                self.step(txn, "east", TAKE)
                self.post(txn, "commit")
                self.assertEqual(self.world.daemons["east"].wait(), -9)
                self.world.start_agent("east")
                self.world.await_rest()
                moved = self.coordinator("GET", "/v1/transactions/" + txn)[1]["outcome"] == "commit"
                self.assertEqual(self.balances(), (before[0] - 10 * moved, before[1] + 10 * moved,
                                                   before[2]))

    def test_its_session_is_ended_by_an_administrator(self):
        before = self.balances()
        txn = self.open()
        self.does(txn, "west", GIVE)
        self.does(txn, "east", TAKE)
        self.end_sessions("east")
        self.is_lost(self.step(txn, "east", READ))
        self.assertEqual(self.balances(), before)

    def test_its_session_is_ended_before_the_commit(self):
        before = self.balances()
        txn = self.open()
        self.does(txn, "west", GIVE)
        self.does(txn, "east", TAKE)
        self.end_sessions("east")
        self.is_lost(self.post(txn, "commit"))
        self.assertEqual(self.balances(), before)

    def test_the_server_is_killed(self):
        before = self.balances()
        txn = self.open()
        self.does(txn, "east", TAKE)
        self.server.kill()
        self.server.start()
        self.is_lost(self.step(txn, "east", READ))
        self.assertEqual(self.balances(), before)

    def test_the_agent_is_killed(self):
        before = self.balances()
        txn = self.open()
        self.does(txn, "west", GIVE)
        self.does(txn, "east", TAKE)
        self.world.daemons["east"].kill()
        self.world.start_agent("east")
        self.assertEqual(self.step(txn, "east", READ)[0], 409)
        self.assertEqual(self.balances(), before)

    def test_the_coordinator_is_killed(self):
        before = self.balances()
        txn = self.open()
        self.does(txn, "east", TAKE)
        self.does(txn, "file", GIVE)
        self.world.daemons["coordinator"].kill()
        self.world.start_coordinator()
        self.assertEqual(self.world.submit(self.world.move("east", 9, -1),
                                           self.world.move("file", 9, 1))[0], 201)
        # east has heard of its new life, and lets go
        wait_until(lambda: self.open_sessions("east") == 0, "what was open is given up")
        self.assertEqual(self.balances(), before)

    def test_the_agent_is_killed_after_the_vote(self):
        before = self.balances()
        self.world.daemons["coordinator"].kill()
        self.world.start_coordinator("coord.decision.forced=1*kill")
        txn = self.open()
        self.does(txn, "east", TAKE)
        self.does(txn, "west", GIVE)
        client = threading.Thread(target=self.try_to_commit, args=(txn,))
        client.start()
        self.assertEqual(self.world.daemons["coordinator"].wait(), -9)
        client.join()
        self.world.daemons["east"].kill()
        self.world.start_agent("east")
        self.world.start_coordinator()
        self.world.await_rest()
        self.assertEqual(self.balances(), (before[0] - 10, before[1] + 10, before[2]))

    def try_to_commit(self, txn):
        try:
            self.post(txn, "commit")
        except OSError:
            pass
