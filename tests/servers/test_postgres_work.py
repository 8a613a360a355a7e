"""usage: test_postgres_work.py AGENT PG_TAG; branches at PostgreSQL: what they do, what is refused and
why, and what becomes of sessions. Each trap of the server has a test."""

import os
import subprocess
import sys
import threading
import unittest

import postgres
import world
from world import wait_until

PROGRAMS = None
PG_TAG = None


class Work(unittest.TestCase):
    """Two databases of one server, and a SQLite file."""

    @classmethod
    def setUpClass(cls):
        cls.server = postgres.Server()
        cls.addClassCleanup(cls.server.close)
        cls.world = world.World(PROGRAMS, {"east": cls.server, "west": cls.server, "file": None},
                                flags=["--sessions", "8"])
        cls.addClassCleanup(cls.world.close)

    def setUp(self):
        self.total = self.world.total()

    def tearDown(self):
        self.world.revive()
        self.world.check(self, total=self.total)
        for name in ("east", "west"):
            self.world.query(name, "UPDATE accounts SET balance = 100 WHERE balance <> 100")

    def refused(self, code, *statements, sqlstate=None, name="east", **members):
        status, answer = self.world.run(name, *statements, **members)
        self.assertEqual(status, 409, answer)
        self.assertEqual(answer["cause"]["code"], code, answer)
        if sqlstate is not None:
            self.assertEqual(answer["cause"].get("sqlstate"), sqlstate, answer)
        return answer["cause"]

    def restart(self, name, failpoints=None, flags=()):
        self.assertEqual(self.world.daemons[name].stop(), 0)
        self.world.start_agent(name, failpoints, flags)

    def test_a_time_limit_that_was_rolled_back_with_its_branch(self):
        """The limit of the first is what a session has when the second, which is undone, has set its
        own; the third must not run under that of the first."""
        self.restart("east", flags=["--sessions", "2"])
        self.assertEqual(self.world.run("east", "SELECT 1", timeout_ms=400)[0], 201)
        self.refused("constraint", "UPDATE accounts SET balance = -1 WHERE id = 1",
                     timeout_ms=60000)
        self.assertEqual(self.world.run("east", "SELECT pg_sleep(1.5)", timeout_ms=60000)[0], 201)
        self.restart("east")

    # ---- What goes well ----

    def test_transfers_between_servers_and_files(self):
        banks = list(self.world.banks)
        for giver, taker in ((0, 1), (1, 2), (2, 0)):
            status, answer = self.world.submit(self.world.move(banks[giver], 1, -30),
                                               self.world.move(banks[taker], 2, 30))
            self.assertEqual((status, answer.get("outcome")), (201, "commit"), answer)
            self.assertEqual([b["vote"] for b in answer["branches"]], ["yes", "yes"])
        for name in banks:
            self.assertEqual((self.world.balance(name, 1), self.world.balance(name, 2)), (70, 130))
        for giver, taker in ((1, 0), (2, 1), (0, 2)):
            self.world.submit(self.world.move(banks[giver], 2, -30),
                              self.world.move(banks[taker], 1, 30))

    def test_all_three_in_one(self):
        status, answer = self.world.submit(self.world.move("east", 3, -2),
                                           self.world.move("west", 3, 1),
                                           self.world.move("file", 3, 1))
        self.assertEqual(status, 201, answer)
        self.world.submit(self.world.move("east", 3, 2), self.world.move("west", 3, -1),
                          self.world.move("file", 3, -1))

    def test_values_come_back_as_they_went(self):
        params = ["text", 3, -1.5, True, None, {"int64": "9007199254740993"}, {"blob": "AP8="}]
        types = ["text", "int", "float8", "bool", "text", "int8", "bytea"]
        sql = "SELECT " + ", ".join("$%d::%s" % (i + 1, t) for i, t in enumerate(types))
        status, answer = self.world.run("east", {"sql": sql, "params": params})
        self.assertEqual(status, 201, answer)
        self.assertEqual(answer["branches"][0]["results"][0]["rows"], [params])

    def test_other_types_are_numbers_where_a_double_holds_them_and_else_text(self):
        status, answer = self.world.run(
            "east", "SELECT 1.50::numeric, 1234567890.0123456789::numeric, sum(i), 'NaN'::float8,"
                    " '{\"a\":1}'::jsonb, '2026-01-02'::date, 'é', 7::int2"
                    " FROM generate_series(1, 3) i")
        self.assertEqual(status, 201, answer)
        self.assertEqual(answer["branches"][0]["results"][0]["rows"],
                         [[1.5, "1234567890.0123456789", 6, "NaN", '{"a": 1}', "2026-01-02", "é",
                           7]])

    def test_returning_has_rows_and_their_number(self):
        status, answer = self.world.run(
            "east", "UPDATE accounts SET balance = balance WHERE id < 3 RETURNING id")
        self.assertEqual(answer["branches"][0]["results"],
                         [{"columns": ["id"], "rows": [[1], [2]], "rows_affected": 2}], status)

    def test_queries_vote_read_only(self):
        status, answer = self.world.run("east", "SELECT count(*) FROM accounts")
        self.assertEqual((status, answer["branches"][0]["vote"]), (201, "read_only"), answer)

    def test_a_write_that_finds_nothing_votes_read_only(self):
        status, answer = self.world.run("east", "DELETE FROM accounts WHERE id = -1")
        self.assertEqual((status, answer["branches"][0]["vote"]), (201, "read_only"), answer)

    def test_a_query_that_writes_is_prepared(self):
        self.world.query("east", "CREATE SEQUENCE s")
        self.world.query("east", "CREATE FUNCTION note() RETURNS int LANGUAGE sql AS"
                                 " 'UPDATE accounts SET balance = balance WHERE id = 1;"
                                 " SELECT 1'")
        status, answer = self.world.run("east", "SELECT note()")
        self.assertEqual((status, answer["branches"][0]["vote"]), (201, "yes"), answer)

    def test_one_phase_is_committed_with_its_work(self):
        status, answer = self.world.submit(self.world.move("east", 1, 0))
        self.assertEqual((status, answer["branches"][0]["vote"]), (201, "committed"), answer)
        status, answer = self.world.submit(self.world.move("east", 1, -500))
        self.assertEqual((status, answer["cause"]["sqlstate"]), (409, "23514"), answer)

    def test_serializable_refuses_write_skew(self):
        """Two that read what the other writes cannot both be committed."""
        told = []

        def one(mine, other):
            told.append(self.world.run(
                "east", "SELECT balance, pg_sleep(0.5) FROM accounts WHERE id = %d" % other,
                "UPDATE accounts SET balance = balance WHERE id = %d" % mine,
                isolation="serializable", timeout_ms=10000))

        threads = [threading.Thread(target=one, args=pair) for pair in ((1, 2), (2, 1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertGreater(max(answer.get("attempts", 1) for _, answer in told), 1, told)

    # ---- Errors ----

    def test_errors_carry_the_servers_words_sqlstate_and_statement(self):
        cause = self.refused("sql_error", "SELECT 1", "SELECT * FROM nowhere", sqlstate="42P01")
        self.assertEqual(cause["statement"], 1)
        self.assertIn('relation "nowhere" does not exist', cause["detail"])
        self.refused("sql_error", "SELECT 1 / (id - 1) FROM accounts", sqlstate="22012")

    def test_a_branch_never_commits_half_its_statements(self):
        self.refused("constraint", "UPDATE accounts SET balance = 7 WHERE id = 1",
                     "INSERT INTO accounts VALUES (2, 1)", sqlstate="23505")
        self.assertEqual(self.world.balance("east", 1), 100)

    def test_an_unmet_expectation_rolls_back_what_was_prepared(self):
        self.refused("expectation_failed", {"sql": "UPDATE accounts SET balance = 7 WHERE id = 77",
                                            "expect": {"rows": 1}},
                     "UPDATE accounts SET balance = 7 WHERE id = 1")
        self.assertEqual(self.world.balance("east", 1), 100)

    def test_after_a_failed_pipeline_its_session_is_as_new(self):
        """Its locks are let go, and the next branch on it does not find a transaction that failed."""
        self.restart("east", flags=["--sessions", "2"])  # one works, one decides
        self.refused("sql_error", "UPDATE accounts SET balance = 7 WHERE id = 1", "SELECT 1 / 0")
        wait_until(lambda: self.world.query(
            "east", "SELECT count(*) FROM pg_locks WHERE relation = 'accounts'::regclass"
                    " AND pid <> pg_backend_pid()") == ["0"], "no lock is held")
        self.assertEqual(self.world.run("east", "UPDATE accounts SET balance = balance WHERE id = 1")[0],
                         201)
        self.restart("east")

    def test_deferred_constraints_fail_at_prepare_which_is_a_no(self):
        self.world.query("east", "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child"
                                 " (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
        cause = self.refused("constraint", "INSERT INTO child VALUES (1)", sqlstate="23503")
        self.assertIn("child", cause["detail"])
        status, answer = self.world.submit({"participant": "east", "statements": [
            {"sql": "INSERT INTO child VALUES (1)"}]})
        self.assertEqual((status, answer["cause"]["sqlstate"]), (409, "23503"), answer)
        self.assertEqual(self.world.query("east", "SELECT * FROM child"), [])

    def test_prepare_in_a_failed_transaction_succeeds_and_is_no_yes(self):
        """Only its tag, ROLLBACK, tells. In the pipeline it is skipped after an error, so the
        server is asked by a program of its own."""
        subprocess.run([PG_TAG, self.server.url("postgres")], check=True, timeout=60)

    def test_transaction_control_is_refused(self):
        for sql in ("BEGIN", "commit", "ROLLBACK", "/* a /* b */ */ ;; COMMIT", "-- x\nEND",
                    "ABORT", "SAVEPOINT a", "RELEASE a", "START TRANSACTION",
                    "PREPARE TRANSACTION 'x'", "COMMIT PREPARED 'x'", "DISCARD ALL",
                    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"):
            with self.subTest(sql):
                self.assertIn("not allowed", self.refused("not_supported", sql)["detail"])
        self.refused("sql_error", "DO $$ BEGIN COMMIT; END $$", sqlstate="2D000")
        self.refused("sql_error", "SELECT 1; COMMIT", sqlstate="42601")

    def test_what_cannot_be_prepared_is_refused(self):
        for sql in ("CREATE TEMP TABLE t (i int)", "LISTEN a", "NOTIFY a", "UNLISTEN *",
                    "SELECT pg_notify('a', 'b')", "SELECT 1 INTO TEMP t",
                    "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "COPY accounts TO STDOUT",
                    "VACUUM", "SET search_path = x", "SELECT pg_advisory_lock(1)"):
            with self.subTest(sql):
                self.refused("not_supported", sql,
                             "UPDATE accounts SET balance = balance WHERE id = 1")

    def test_nothing_is_left_behind_in_a_session(self):
        for _ in range(8):
            self.world.run("east", "SELECT set_config('search_path', 'nowhere', false)")
        for _ in range(8):
            status, answer = self.world.run("east", "SELECT 1 FROM accounts")
            self.assertEqual(status, 201, answer)

    def test_a_table_that_was_altered_is_parsed_anew(self):
        self.world.query("east", "CREATE TABLE altered (i int)")
        for column in "abcdefgh":
            status, answer = self.world.run("east", "SELECT * FROM altered")
            self.assertEqual(status, 201, answer)
            self.world.query("east", "ALTER TABLE altered ADD COLUMN %s int" % column)

    def test_results_larger_than_the_limit_are_refused(self):
        self.restart("east", flags=["--result-max", "1000"])
        cause = self.refused("not_supported", "SELECT i FROM generate_series(1, 100000) i",
                             "UPDATE accounts SET balance = 1 WHERE id = 1")
        self.assertIn("--result-max", cause["detail"])
        self.restart("east")

    # ---- Locks and time ----

    def lock_row_5(self):
        """As another program that prepares transactions."""
        self.world.query("east", "BEGIN; UPDATE accounts SET balance = balance WHERE id = 5;"
                                 " PREPARE TRANSACTION 'other program'")
        self.addCleanup(self.unlock_row_5)

    def unlock_row_5(self):
        self.server.sql("ROLLBACK PREPARED 'other program'", self.world.database("east"),
                        fail=False)

    def test_a_lock_that_is_not_had_in_time_is_a_conflict(self):
        self.restart("east", flags=["--lock-timeout", "20ms"])
        self.lock_row_5()
        status, answer = self.world.run("east", "UPDATE accounts SET balance = 0 WHERE id = 5",
                                        timeout_ms=3000)
        self.assertEqual(status, 409, answer)
        self.assertGreater(answer["attempts"], 1, answer)  # only a conflict is tried again
        metrics = self.world.agent("east", "GET", "/metrics")[1].decode()
        self.assertNotIn("assent_resource_conflicts_total 0", metrics)
        self.unlock_row_5()
        self.restart("east")

    def test_a_statement_ends_with_the_time_of_its_transaction(self):
        status, answer = self.world.run("east", "SELECT pg_sleep(600)", timeout_ms=500)
        self.assertEqual((status, answer["cause"]["code"]), (409, "timeout"), answer)
        wait_until(lambda: self.world.query(
            "east", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%'"
                    " AND state = 'active' AND pid <> pg_backend_pid()") == ["0"],
            "nobody sleeps at the server")

    def test_a_decision_does_not_wait_behind_branches_that_wait_for_locks(self):
        self.restart("east", flags=["--sessions", "4", "--lock-timeout", "1h"])
        self.lock_row_5()
        threads = [threading.Thread(target=self.world.run, args=(
            "east", "UPDATE accounts SET balance = balance WHERE id = 5"),
            kwargs={"timeout_ms": 30000}) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: self.world.query(
            "east", "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            == ["2"], "two branches wait")
        status, answer = self.world.submit(self.world.move("east", 1, -1),
                                           self.world.move("west", 1, 1))
        self.assertEqual(status, 201, answer)
        self.world.submit(self.world.move("east", 1, 1), self.world.move("west", 1, -1))
        self.unlock_row_5()
        for thread in threads:
            thread.join()
        self.restart("east")

    # ---- Sessions that are lost ----

    def test_connection_lost_during_prepare_looks_before_it_votes(self):
        self.restart("east", "agent.pg.prepared=1*error")
        status, answer = self.world.submit(self.world.move("east", 1, -1),
                                           self.world.move("west", 1, 1))
        self.assertEqual((status, answer.get("outcome")), (201, "commit"), answer)
        self.assertTrue(any("pg.session_lost" in line for line in self.world.daemons["east"].lines))
        self.world.submit(self.world.move("east", 1, 1), self.world.move("west", 1, -1))
        self.restart("east")

    def test_connection_lost_before_prepare_is_a_no(self):
        self.restart("east", "agent.pg.execute=1*error")
        self.refused("participant_error", "UPDATE accounts SET balance = 1 WHERE id = 1")
        self.restart("east")

    def test_a_session_that_an_administrator_ends_is_replaced(self):
        killer = threading.Thread(target=wait_until, args=(lambda: self.world.query(
            "east", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE"
                    " application_name LIKE 'assent-agent east %' AND query LIKE '%pg_sleep(61)%'")
            == ["t"], "the session is ended"))
        killer.start()
        cause = self.refused("participant_error",
                             "UPDATE accounts SET balance = 1 WHERE id = 1", "SELECT pg_sleep(61)")
        killer.join()
        self.assertIn("administrator", cause["detail"])
        self.world.query("east", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE"
                                 " application_name LIKE 'assent-agent east %'")
        wait_until(lambda: self.world.run("east", "SELECT 1")[0] == 201, "sessions are back")

    def test_connection_lost_during_commit_prepared_is_asked_about(self):
        """The answer to the first COMMIT PREPARED is lost; the second finds nothing (42704), and
        the transaction's status proves that it is done."""
        self.restart("east", "agent.pg.decided=1*error")
        status, answer = self.world.submit(self.world.move("east", 1, -1),
                                           self.world.move("west", 1, 1))
        self.assertEqual((status, answer.get("outcome")), (201, "commit"), answer)
        self.assertEqual(self.world.balance("east", 1), 99)
        self.world.submit(self.world.move("east", 1, 1), self.world.move("west", 1, -1))
        self.restart("east")

    def test_one_phase_whose_answer_is_lost_is_proved(self):
        self.restart("east", "agent.pg.finished=1*error")
        status, answer = self.world.submit(self.world.move("east", 1, -1))
        self.assertEqual((status, answer.get("outcome")), (201, "commit"), answer)
        self.assertEqual(self.world.balance("east", 1), 99)
        self.restart("east", "agent.pg.finish=1*error")
        status, answer = self.world.submit(self.world.move("east", 1, 1))
        self.assertEqual((status, answer.get("outcome")), (409, "abort"), answer)
        self.assertEqual(self.world.balance("east", 1), 99)
        self.world.submit(self.world.move("east", 1, 1))
        self.restart("east")


if __name__ == "__main__":
    if postgres.programs() is None:
        print("skipped: PostgreSQL is not installed (postgresql-15)")
        sys.exit(77)
    PROGRAMS = os.path.dirname(os.path.abspath(sys.argv.pop(1)))
    PG_TAG = sys.argv.pop(1)
    unittest.main()
