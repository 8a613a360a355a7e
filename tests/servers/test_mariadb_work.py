"""usage: test_mariadb_work.py AGENT; branches at MariaDB: what they do, what is refused and why, and
what becomes of sessions. Each trap of the server has a test."""

import os
import sys
import threading
import unittest

import mariadb
import postgres
import world
from world import wait_until

PROGRAMS = None


class Work(unittest.TestCase):
    """Two databases of one server, a SQLite file, and a PostgreSQL server where there is one."""

    @classmethod
    def setUpClass(cls):
        cls.server = mariadb.Server()
        cls.addClassCleanup(cls.server.close)
        banks = {"east": cls.server, "west": cls.server, "file": None}
        if postgres.programs() is not None:
            banks["shop"] = postgres.Server()
            cls.addClassCleanup(banks["shop"].close)
        cls.world = world.World(PROGRAMS, banks, flags=["--sessions", "8"])
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

    def committed(self, name, *statements, vote="yes", **members):
        status, answer = self.world.run(name, *statements, **members)
        self.assertEqual((status, answer.get("outcome")), (201, "commit"), answer)
        self.assertEqual(answer["branches"][0]["vote"], vote, answer)
        return answer["branches"][0]["results"]

    def restart(self, name, failpoints=None, flags=()):
        self.assertEqual(self.world.daemons[name].stop(), 0)
        self.world.start_agent(name, failpoints, flags)

    def said(self, name, words):
        return any(words in line for line in self.world.daemons[name].lines)

    def sessions(self):
        """Those of the agents at the server."""
        return self.server.sql("SELECT ID FROM information_schema.PROCESSLIST"
                               " WHERE USER = 'assent'")

    # ---- What goes well ----

    def test_transfers_between_servers_and_files(self):
        banks = list(self.world.banks)
        for i, giver in enumerate(banks):
            taker = banks[(i + 1) % len(banks)]
            with self.subTest((giver, taker)):
                status, answer = self.world.submit(self.world.move(giver, 1, -30),
                                                   self.world.move(taker, 2, 30))
                self.assertEqual((status, answer.get("outcome")), (201, "commit"), answer)
                self.assertEqual([b["vote"] for b in answer["branches"]], ["yes", "yes"])
        for name in banks:
            self.assertEqual((self.world.balance(name, 1), self.world.balance(name, 2)), (70, 130))
            self.world.submit(self.world.move(name, 1, 30))
            self.world.submit(self.world.move(name, 2, -30))

    def test_all_in_one(self):
        banks = list(self.world.banks)
        moves = [self.world.move(name, 3, 1) for name in banks[1:]]
        status, answer = self.world.submit(self.world.move("east", 3, 1 - len(banks)), *moves)
        self.assertEqual(status, 201, answer)
        for name in banks:
            self.world.submit(self.world.move(name, 3, 100 - self.world.balance(name, 3)))

    def test_one_refusal_aborts_all(self):
        banks = list(self.world.banks)
        moves = [self.world.move(name, 3, 1) for name in banks if name != "west"]
        status, answer = self.world.submit(self.world.move("west", 3, -500), *moves)
        self.assertEqual((status, answer["cause"]["code"]), (409, "constraint"), answer)

    def test_values_come_back_as_they_went(self):
        params = ["text é", 3, -1.5, None, {"int64": "9007199254740993"}, {"blob": "AP8="}, "",
                  "x" * 70000]
        results = self.committed("east", {"sql": "SELECT " + ", ".join("?" * len(params)),
                                          "params": params}, vote="read_only")
        self.assertEqual(results[0]["rows"], [params])
        results = self.committed("east", {"sql": "SELECT ?, ?", "params": [True, False]},
                                 vote="read_only")
        self.assertEqual(results[0]["rows"], [[1, 0]])  # MariaDB knows no truth values

    def test_other_types_are_numbers_where_a_double_holds_them_and_else_text(self):
        self.world.query("east", "CREATE TABLE types (a decimal(8,2), b decimal(30,10), c float,"
                                 " d double, e bit(9), f year, g date, h datetime(3), i time,"
                                 " j bigint unsigned, k enum('x','y'), l json, m varbinary(9),"
                                 " n tinyint, o smallint unsigned, p char(3), q timestamp)")
        self.world.query("east", "INSERT INTO types VALUES (1.50, 1234567890.0123456789, 0.1, 0.1,"
                                 " b'100000001', 2026, '2026-01-02', '2026-01-02 03:04:05.678',"
                                 " '-12:34:56', 18446744073709551615, 'y', '{\"a\": 1}', x'00ff',"
                                 " -3, 65535, 'ab', '2026-01-02 03:04:05')")
        row = self.committed("east", "SELECT * FROM types", vote="read_only")[0]["rows"][0]
        self.assertEqual(row, [1.5, "1234567890.0123456789", 0.1, 0.1, 257, 2026, "2026-01-02",
                               "2026-01-02 03:04:05.678", "-12:34:56", "18446744073709551615", "y",
                               '{"a": 1}', {"blob": "AP8="}, -3, 65535, "ab",
                               "2026-01-02 03:04:05"])

    def test_returning_has_rows_and_their_number(self):
        results = self.committed("east", "DELETE FROM ledger WHERE txn = 'none' RETURNING txn",
                                 "INSERT INTO ledger VALUES ('r', 'from', 0), ('r', 'to', 0)"
                                 " RETURNING leg")
        self.assertEqual(results, [{"columns": ["txn"], "rows": [], "rows_affected": 0},
                                   {"columns": ["leg"], "rows": [["from"], ["to"]],
                                    "rows_affected": 2}])

    def test_rows_that_stay_as_they_were_are_counted(self):
        results = self.committed("east", {"sql": "UPDATE accounts SET balance = balance WHERE id = 1",
                                          "expect": {"rows": 1}})
        self.assertEqual(results, [{"rows_affected": 1}])

    def test_placeholders_without_a_parameter_are_refused(self):
        cause = self.refused("sql_error", {"sql": "SELECT ?, ?", "params": [1]}, sqlstate="07001")
        self.assertIn("2 placeholders", cause["detail"])

    def test_queries_vote_read_only(self):
        self.committed("east", "SELECT count(*) FROM accounts", "SHOW TABLES", vote="read_only")

    def test_a_query_that_writes_is_prepared(self):
        self.world.query("east", "DELIMITER //\nCREATE FUNCTION note() RETURNS int MODIFIES SQL"
                                 " DATA BEGIN UPDATE accounts SET balance = 105 WHERE id = 1;"
                                 " RETURN 1; END//")
        self.server.sql("GRANT EXECUTE ON `%s`.* TO assent@'%%'" % self.world.database("east"))
        self.committed("east", "SELECT note()", "SELECT 1")
        self.assertEqual(self.world.balance("east", 1), 105)
        status, answer = self.world.submit({"participant": "east", "statements": [
            {"sql": "SELECT note()"}]})
        self.assertEqual((status, answer["branches"][0]["vote"]), (201, "committed"), answer)
        self.world.query("east", "UPDATE accounts SET balance = 100 WHERE id = 1")

    def test_rows_locked_by_a_query_stay_locked_until_the_decision(self):
        self.committed("east", "SELECT * FROM accounts WHERE id = 1 FOR UPDATE")

    def test_one_phase_is_committed_with_its_work(self):
        status, answer = self.world.submit(self.world.move("east", 1, 0))
        self.assertEqual((status, answer["branches"][0]["vote"]), (201, "committed"), answer)
        status, answer = self.world.submit(self.world.move("east", 1, -500))
        self.assertEqual((status, answer["cause"]["sqlstate"]), (409, "23000"), answer)

    def test_serializable_refuses_write_skew(self):
        """Two that read what the other writes cannot both be committed from the same state."""
        told = []

        def one(mine, other):
            told.append(self.world.run(
                "east", "SELECT balance, SLEEP(0.5) FROM accounts WHERE id = %d" % other,
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
        cause = self.refused("sql_error", "SELECT 1", "SELECT * FROM nowhere", sqlstate="42S02")
        self.assertEqual(cause["statement"], 1)
        self.assertIn("nowhere' doesn't exist (error 1146)", cause["detail"])

    def test_a_branch_never_commits_half_its_statements(self):
        self.refused("constraint", "UPDATE accounts SET balance = 7 WHERE id = 1",
                     "INSERT INTO accounts VALUES (2, 1)", sqlstate="23000")
        self.assertEqual(self.world.balance("east", 1), 100)

    def test_an_unmet_expectation_rolls_back_what_was_done(self):
        self.refused("expectation_failed", "UPDATE accounts SET balance = 7 WHERE id = 1",
                     {"sql": "UPDATE accounts SET balance = 7 WHERE id = 77",
                      "expect": {"rows": 1}})
        self.assertEqual(self.world.balance("east", 1), 100)

    def test_transaction_control_is_refused(self):
        for sql in ("BEGIN", "commit", "ROLLBACK", "/* a */ ;; COMMIT", "-- x\nSAVEPOINT a",
                    "RELEASE SAVEPOINT a", "START TRANSACTION", "XA END 'x'", "XA COMMIT 'x'",
                    "PREPARE s FROM 'COMMIT'", "EXECUTE s", "SET autocommit = 1",
                    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "LOCK TABLES accounts WRITE",
                    "USE mysql", "SELECT GET_LOCK('a', 1)"):
            with self.subTest(sql):
                self.assertIn("not allowed", self.refused("not_supported", sql)["detail"])
        self.refused("sql_error", "SELECT 1; COMMIT", sqlstate="42000")

    def test_what_commits_implicitly_is_refused(self):
        for sql in ("CREATE TABLE t (i int)", "DROP TABLE accounts", "TRUNCATE accounts",
                    "ALTER TABLE accounts ADD c int", "CREATE TEMPORARY TABLE t (i int)",
                    "GRANT SELECT ON *.* TO assent", "ANALYZE TABLE accounts",
                    "CALL something()", "LOAD DATA INFILE 'x' INTO TABLE accounts"):
            with self.subTest(sql):
                self.refused("not_supported", sql,
                             "UPDATE accounts SET balance = balance WHERE id = 1")
        self.refused("sql_error", "/*! CREATE TABLE t AS */ SELECT 1")
        self.assertEqual(self.world.query("east", "SHOW TABLES LIKE 't'"), [])

    def test_tables_of_engines_without_transactions_are_refused_before_anything_is_written(self):
        """Also where only the server knows: behind a view, a trigger, a function."""
        self.world.query("east", "CREATE TABLE plain (i int) ENGINE=MyISAM;"
                                 "CREATE VIEW seen AS SELECT * FROM plain;"
                                 "CREATE TABLE fired (i int) ENGINE=InnoDB;"
                                 "CREATE TRIGGER fire AFTER INSERT ON fired FOR EACH ROW"
                                 " INSERT INTO plain VALUES (NEW.i);"
                                 "\nDELIMITER //\nCREATE FUNCTION put() RETURNS int MODIFIES SQL DATA"
                                 " BEGIN INSERT INTO plain VALUES (1); RETURN 1; END//")
        self.server.sql("GRANT EXECUTE ON `%s`.* TO assent@'%%'" % self.world.database("east"))
        cause = self.refused("not_supported", "INSERT INTO seen VALUES (1)")
        self.assertIn("GRANT SELECT, SHOW VIEW", cause["detail"])
        self.server.sql("GRANT SHOW VIEW ON `%s`.* TO assent@'%%'" % self.world.database("east"))
        self.restart("east")  # a session has the rights with which it began
        for sql in ("INSERT INTO plain VALUES (?)", "INSERT INTO seen VALUES (?)",
                    "INSERT INTO fired VALUES (?)", "SELECT put(), ?"):
            with self.subTest(sql):
                cause = self.refused("not_supported", "SELECT 1", {"sql": sql, "params": [7]})
                self.assertEqual(cause["statement"], 1)
                self.assertIn("ENGINE=InnoDB", cause["detail"])
                self.assertIn("could not be undone", cause["detail"])
        self.assertEqual(self.world.query("east", "SELECT * FROM plain"), [])
        self.committed("east", "SELECT * FROM plain", vote="read_only")

    def test_a_table_that_loses_its_transactions_later_is_noticed_when_it_is_written(self):
        self.world.query("east", "CREATE TABLE turned (i int) ENGINE=InnoDB")
        for _ in range(8):  # each session has seen it
            self.committed("east", "INSERT INTO turned VALUES (1)")
        self.world.query("east", "ALTER TABLE turned ENGINE=MyISAM")
        cause = self.refused("not_supported", "INSERT INTO turned VALUES (1)")
        self.assertIn("engine", cause["detail"])

    def test_nothing_is_left_behind_in_a_session(self):
        for _ in range(8):
            self.committed("east", "SELECT @left := 1", vote="read_only")
        for _ in range(8):
            results = self.committed("east", "SELECT @left", vote="read_only")
            self.assertEqual(results[0]["rows"], [[None]])

    def test_a_table_that_was_altered_is_parsed_anew(self):
        self.world.query("east", "CREATE TABLE altered (i int)")
        for column in "abcdefgh":
            self.committed("east", "SELECT * FROM altered", vote="read_only")
            self.world.query("east", "ALTER TABLE altered ADD COLUMN %s int" % column)

    def test_results_larger_than_the_limit_are_refused(self):
        self.restart("east", flags=["--result-max", "1000"])
        cause = self.refused("not_supported", "SELECT seq FROM seq_1_to_100000",
                             "UPDATE accounts SET balance = 1 WHERE id = 1")
        self.assertIn("--result-max", cause["detail"])
        self.restart("east")

    # ---- Locks and time ----

    def lock_row_5(self):
        """As another program that prepares transactions."""
        self.world.query("east", "XA START 'other program'; UPDATE accounts SET balance = 101"
                                 " WHERE id = 5; XA END 'other program'; XA PREPARE 'other program'")
        self.addCleanup(self.unlock_row_5)

    def unlock_row_5(self):
        self.server.sql("XA ROLLBACK 'other program'", fail=False)

    def test_a_lock_that_is_not_had_in_time_ends_the_whole_branch(self):
        """The server undoes that statement only, and would prepare the rest."""
        self.restart("east", flags=["--lock-timeout", "1s"])
        self.lock_row_5()
        status, answer = self.world.run("east", "UPDATE accounts SET balance = 0 WHERE id = 4",
                                        "UPDATE accounts SET balance = 0 WHERE id = 5",
                                        timeout_ms=5000)
        self.assertEqual(status, 409, answer)
        self.assertGreater(answer["attempts"], 1, answer)  # only a conflict is tried again
        self.assertEqual(self.world.balance("east", 4), 100)
        metrics = self.world.agent("east", "GET", "/metrics")[1].decode()
        self.assertNotIn("assent_resource_conflicts_total 0", metrics)
        self.unlock_row_5()
        self.restart("east")

    def test_a_deadlock_is_tried_again(self):
        told = []

        def one(first, second):
            told.append(self.world.run(
                "east", "UPDATE accounts SET balance = balance WHERE id = %d" % first,
                "SELECT SLEEP(0.5)", "UPDATE accounts SET balance = balance WHERE id = %d" % second,
                timeout_ms=20000))

        threads = [threading.Thread(target=one, args=pair) for pair in ((1, 2), (2, 1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([status for status, _ in told], [201, 201], told)
        self.assertGreater(max(answer["attempts"] for _, answer in told), 1, told)

    def test_a_statement_ends_with_the_time_of_its_transaction(self):
        status, answer = self.world.run("east", "SELECT SLEEP(600)", timeout_ms=500)
        self.assertEqual((status, answer["cause"]["code"]), (409, "timeout"), answer)
        wait_until(lambda: self.server.sql(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT SLEEP(600%'")
            == ["0"], "nobody sleeps at the server")

    def test_a_decision_does_not_wait_behind_branches_that_wait_for_locks(self):
        self.restart("east", flags=["--sessions", "4", "--lock-timeout", "1h"])
        self.lock_row_5()
        threads = [threading.Thread(target=self.world.submit, args=({
            "participant": "east", "statements": [
                {"sql": "UPDATE accounts SET balance = balance WHERE id = 5"}]},),
            kwargs={"timeout_ms": 30000}) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: self.server.sql(
            "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'")
            == ["2"], "two branches wait")
        status, answer = self.world.submit(self.world.move("east", 1, -1),
                                           self.world.move("west", 1, 1))
        self.assertEqual(status, 201, answer)
        self.world.submit(self.world.move("east", 1, 1), self.world.move("west", 1, -1))
        self.unlock_row_5()
        for thread in threads:
            thread.join()
        self.restart("east")

    def test_more_branches_in_doubt_than_there_are_sessions(self):
        """What is prepared and waits goes to the server's keeping when its session is needed."""
        self.restart("east", flags=["--sessions", "2"])
        self.world.daemons["coordinator"].kill()
        self.world.start_coordinator("coord.decision.forced=delay(1000)")
        told = []
        threads = [threading.Thread(target=lambda i=i: told.append(self.world.submit(
            self.world.move("east", i, 0), self.world.move("west", i, 0))))
            for i in range(1, 6)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(self.server.prepared(self.world.database("east"))) > 1,
                   "more are prepared than have a session")
        for thread in threads:
            thread.join()
        self.assertEqual([status for status, _ in told], [201] * 5, told)
        self.world.daemons["coordinator"].kill()
        self.world.start_coordinator()
        self.restart("east")

    # ---- Sessions that are lost ----

    def test_connection_lost_during_prepare_looks_before_it_votes(self):
        self.restart("east", "agent.maria.prepared=1*error")
        status, answer = self.world.submit(self.world.move("east", 1, -1),
                                           self.world.move("west", 1, 1))
        self.assertEqual((status, answer.get("outcome")), (201, "commit"), answer)
        self.assertTrue(self.said("east", "maria.session_lost"))
        self.world.submit(self.world.move("east", 1, 1), self.world.move("west", 1, -1))
        self.restart("east")

    def test_connection_lost_before_prepare_is_a_no(self):
        self.restart("east", "agent.maria.execute=1*error")
        self.refused("participant_error", "UPDATE accounts SET balance = 1 WHERE id = 1")
        self.restart("east")

    def test_a_session_that_an_administrator_ends_is_replaced(self):
        def kill():
            found = self.server.sql("SELECT ID FROM information_schema.PROCESSLIST"
                                    " WHERE INFO LIKE 'SELECT SLEEP(61)%'")
            return found and self.server.sql("KILL " + found[0]) is not None

        killer = threading.Thread(target=wait_until, args=(kill, "it is killed"))
        killer.start()
        self.refused("participant_error", "SELECT SLEEP(61)", timeout_ms=60000)
        killer.join()
        self.committed("east", "SELECT 1", vote="read_only")

    def test_connection_lost_during_commit_is_looked_up(self):
        """Whether it was carried out or not."""
        for point in ("decide", "decided"):
            with self.subTest(point):
                self.restart("east", "agent.maria.%s=1*error" % point)
                status, answer = self.world.submit(self.world.move("east", 1, -1),
                                                   self.world.move("west", 1, 1))
                self.assertEqual((status, answer.get("outcome")), (201, "commit"), answer)
                self.assertTrue(self.said("east", "maria.session_lost"))
                self.world.submit(self.world.move("east", 1, 1), self.world.move("west", 1, -1))
        self.restart("east")

    def test_connection_lost_during_the_commit_of_one_phase_is_looked_up(self):
        self.restart("east", "agent.maria.finished=1*error")
        self.world.submit(self.world.move("east", 1, 0), self.world.move("west", 1, 0))
        status, answer = self.world.submit(self.world.move("east", 1, -1))
        self.assertEqual((status, answer["branches"][0]["vote"]), (201, "committed"), answer)
        self.assertEqual(self.world.balance("east", 1), 99)
        self.world.submit(self.world.move("east", 1, 1))
        self.restart("east")

    def test_a_session_with_a_prepared_branch_is_never_reset(self):
        """After a reset XA COMMIT says OK and commits nothing. So no session is reset at all."""
        self.server.sql("SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = ON")
        self.world.submit(self.world.move("east", 1, 0), self.world.move("west", 1, 0))
        self.committed("east", "SELECT @left := 1", "UPDATE accounts SET balance = 100 WHERE id = 1")
        self.refused("constraint", "INSERT INTO accounts VALUES (2, 1)")
        self.server.sql("SET GLOBAL general_log = OFF")
        kinds = self.server.sql("SELECT DISTINCT command_type FROM mysql.general_log")
        self.assertIn("Execute", kinds)
        self.assertFalse({"Reset connection", "Change user"} & set(kinds), kinds)


if __name__ == "__main__":
    if mariadb.programs() is None:
        print("skipped: MariaDB is not installed (mariadb-server)")
        sys.exit(77)
    PROGRAMS = os.path.dirname(os.path.abspath(sys.argv.pop(1)))
    unittest.main()
