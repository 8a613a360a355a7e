"""usage: test_sql.py [TEST…] DIRECTORY; what SQL may do in a transaction, and what comes back.

Every refusal is tried in a transaction over two databases and in one over a single database, where
no vote protects it; neither database may have changed afterwards."""

import base64
import contextlib
import sqlite3
import sys

import checks
import daemons
import wire

SCHEMA = """
CREATE TABLE loose (a, b);
INSERT INTO loose VALUES (1, 2);
CREATE TABLE words (k TEXT PRIMARY KEY, v);
INSERT INTO words VALUES ('a', 1);
CREATE TABLE pairs (a TEXT, b INTEGER, v, PRIMARY KEY (a, b));
CREATE TABLE things (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT UNIQUE,
                     n INTEGER NOT NULL DEFAULT 0 CHECK (n < 100),
                     parent INTEGER REFERENCES things (id),
                     late INTEGER REFERENCES things (id) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO things (id, email) VALUES (1, 'a@here'), (2, 'b@here');
INSERT INTO things (id, email, parent) VALUES (3, 'c@here', 2);
CREATE TABLE typed (id INTEGER PRIMARY KEY, v);
CREATE TABLE strictly (id INTEGER PRIMARY KEY, n INTEGER) STRICT;
CREATE TABLE keyed (a TEXT, b TEXT, v, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE audited (id INTEGER PRIMARY KEY, v);
CREATE TRIGGER audit AFTER INSERT ON audited BEGIN INSERT INTO loose VALUES (new.id, new.v); END;
CREATE TABLE guarded (id INTEGER PRIMARY KEY, v);
CREATE TRIGGER guard BEFORE INSERT ON guarded WHEN new.v = 13
  BEGIN SELECT RAISE(ABORT, 'thirteen is not wanted here'); END;
CREATE TABLE copied (id INTEGER PRIMARY KEY, v);
CREATE TRIGGER copy AFTER INSERT ON guarded BEGIN INSERT INTO copied VALUES (new.id, new.v); END;
CREATE VIEW rich AS SELECT id FROM accounts WHERE balance > 50;
CREATE VIRTUAL TABLE notes USING fts5(text);
CREATE INDEX things_by_n ON things (n);
"""


class Schooled(daemons.World):
    def make_bank(self, name):
        super().make_bank(name)
        with contextlib.closing(sqlite3.connect(self.path(name + ".db"))) as bank:
            bank.executescript(SCHEMA)

    def dump(self, name):
        """All that is in the database, but for the agent's own tables."""
        with contextlib.closing(sqlite3.connect(self.path(name + ".db"))) as bank:
            return [line for line in bank.iterdump() if "_assent_" not in line]

    def query(self, name, sql):
        with contextlib.closing(sqlite3.connect(self.path(name + ".db"))) as bank:
            return bank.execute(sql).fetchall()


class Statements(checks.Case):
    world_class = Schooled

    def submit(self, statements, with_west=False, **more):
        branches = [{"participant": "east", "statements": statements}]
        if with_west:
            branches.append({"participant": "west", "statements": [
                {"sql": "UPDATE accounts SET balance = balance + 1 WHERE id = 1"}]})
        return wire.ask(self.url, "POST", "/v1/transactions", dict(more, branches=branches))

    def refused(self, code, sql, words=None, statement=1, retryable=False, **more):
        """After a statement that is good; nothing of either is left."""
        good = {"sql": "UPDATE accounts SET balance = balance - 1 WHERE id = 1"}
        statements = [good, sql if isinstance(sql, dict) else {"sql": sql}]
        before = self.world.dump("east"), self.world.dump("west")
        for with_west in (True, False):
            answer = self.submit(statements, with_west, **more)
            document = self.problem(answer, 409, "aborted")
            self.assertEqual((document["state"], document["outcome"]), ("aborted", "abort"))
            cause = document["cause"]
            self.assertEqual(cause["code"], code, cause)
            self.assertEqual(cause["participant"], "east", cause)
            self.assertEqual(cause.get("statement"), statement, cause)
            self.assertEqual(document["retryable"], retryable)
            if words:
                self.assertIn(words, cause["detail"])
            self.assertNotIn("results", document["branches"][0])
            self.assertEqual(answer.headers["location"], "/v1/transactions/" + document["id"])
        self.assertEqual((self.world.dump("east"), self.world.dump("west")), before)
        self.assertEqual(wire.ask(self.east, "GET", "/v1/branches").json()["items"], [])

    def each_refused(self, code, *pairs):
        for sql, words in pairs:
            with self.subTest(sql=sql if isinstance(sql, str) else sql["sql"]):
                self.refused(code, sql, words)
        self.moves_money()

    def results(self, *statements):
        answer = self.submit([s if isinstance(s, dict) else {"sql": s} for s in statements])
        self.assertEqual(answer.status, 201, answer)
        return answer.json()["branches"][0]["results"]

    # ---- What cannot be promised ----

    def test_tables_without_primary_key(self):
        self.each_refused(
            "not_supported",
            ("INSERT INTO loose VALUES (1, 2)", "loose has no declared PRIMARY KEY"),
            ("UPDATE loose SET b = 3", "loose has no declared PRIMARY KEY"),
            ("DELETE FROM loose WHERE a = 1", "loose has no declared PRIMARY KEY"),
            ("INSERT INTO loose SELECT id, balance FROM accounts", "give it one"),
            ("INSERT INTO audited VALUES (1, 2)", "loose has no declared PRIMARY KEY"))

    def test_null_in_a_primary_key(self):
        self.each_refused(
            "not_supported", ("INSERT INTO words VALUES (NULL, 1)", "NULL"),
            ("INSERT INTO words (v) VALUES (1)", "NULL"),
            ("UPDATE words SET k = NULL", "NULL"),
            ("INSERT INTO pairs VALUES ('a', NULL, 1)", "NULL"),
            ("INSERT INTO pairs VALUES (NULL, 1, 1)", "NULL"))

    def test_changes_of_the_schema(self):
        self.each_refused("not_supported", *((sql, "schema") for sql in (
            "CREATE TABLE x (id INTEGER PRIMARY KEY)", "CREATE TABLE IF NOT EXISTS accounts (id)",
            "CREATE TABLE x AS SELECT * FROM accounts", "CREATE TEMP TABLE x (id)",
            "CREATE INDEX x ON accounts (balance)", "CREATE UNIQUE INDEX x ON accounts (balance)",
            "CREATE VIEW x AS SELECT 1", "CREATE TEMP VIEW x AS SELECT 1",
            "CREATE TRIGGER x AFTER INSERT ON accounts BEGIN SELECT 1; END",
            "CREATE VIRTUAL TABLE x USING fts5(t)", "ALTER TABLE accounts RENAME TO x",
            "ALTER TABLE accounts ADD COLUMN x", "ALTER TABLE typed DROP COLUMN v",
            "ALTER TABLE typed RENAME COLUMN v TO w", "DROP TABLE accounts", "DROP TABLE typed",
            "DROP INDEX things_by_n", "DROP VIEW rich", "DROP TRIGGER audit",
            "DROP TABLE _assent_applied", "REINDEX", "REINDEX accounts", "ANALYZE",
            "ANALYZE accounts", "DROP TABLE IF EXISTS nowhere", "DROP INDEX IF EXISTS x",
            "/* why */ create\ttable x (id)", "-- why\nDrop table if exists x",
            "EXPLAIN DROP TABLE accounts",
            "INSERT INTO sqlite_master VALUES ('table', 'x', 'x', 0, '')")))
        self.each_refused("sql_error", *((sql, "may not be modified") for sql in (
            "DELETE FROM sqlite_master", "UPDATE sqlite_schema SET sql = ''")))

    def test_other_databases_and_settings(self):
        self.each_refused(
            "not_supported", ("ATTACH 'other.db' AS other", "a participant of its own"),
            ("ATTACH ':memory:' AS other", "ATTACH"), ("DETACH main", "DETACH"),
            ("PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys"),
            ("PRAGMA user_version = 7", "PRAGMA user_version"),
            ("PRAGMA journal_mode = DELETE", "PRAGMA journal_mode"),
            ("PRAGMA writable_schema = ON", "PRAGMA writable_schema"),
            ("PRAGMA wal_checkpoint", "PRAGMA"), ("PRAGMA synchronous", "PRAGMA"),
            ("VACUUM", None), ("VACUUM INTO 'copy.db'", None))

    def test_transaction_control(self):
        self.each_refused("not_supported", *((sql, "coordinator's") for sql in (
            "BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE TRANSACTION", "COMMIT", "END",
            "ROLLBACK", "SAVEPOINT x", "RELEASE x", "ROLLBACK TO x", "  /* x */ commit  ;  ")))

    def test_virtual_and_own_tables(self):
        self.each_refused(
            "not_supported", ("INSERT INTO notes VALUES ('x')", "virtual"),
            ("DELETE FROM notes", "virtual"), ("UPDATE notes SET text = 'x'", "virtual"),
            ("INSERT INTO notes_content VALUES (9, 'x')", None),
            ("DELETE FROM _assent_applied", "_assent_applied"),
            ("INSERT INTO _assent_applied VALUES (x'00', 1)", "_assent_applied"),
            ("UPDATE _assent_meta SET value = 'x'", "_assent_meta"),
            ("UPDATE \"_ASSENT_META\" SET value = 'x'", "own"),
            ("DELETE FROM sqlite_sequence", "sqlite_sequence"))

    def test_several_statements_in_one(self):
        self.each_refused("not_supported", ("SELECT 1; SELECT 2", "more than one statement"),
                          ("SELECT 1; DROP TABLE accounts", "each as a statement of its own"),
                          (";; SELECT 1; nonsense", None))

    # ---- Mistakes ----

    def test_mistakes_in_sql(self):
        self.each_refused(
            "sql_error", ("SELEC 1", 'near "SELEC": syntax error'),
            ("SELECT (", "incomplete input"), ("SELECT 'x", "unrecognized token"),
            ("SELECT * FROM nowhere", "no such table: nowhere"),
            ("UPDATE nowhere SET x = 1", "no such table: nowhere"),
            ("SELECT nope FROM accounts", "no such column: nope"),
            ("UPDATE accounts SET nope = 1", "no such column: nope"),
            ("SELECT nope()", "no such function: nope"),
            ("INSERT INTO accounts VALUES (1)", "2 columns but 1 values"),
            ("INSERT INTO rich VALUES (1)", "cannot modify rich because it is a view"),
            ("SELECT abs(-9223372036854775807 - 1)", "integer overflow"),
            ("SELECT json_extract('{', '$')", "malformed JSON"),
            ("-- nothing", "no statement"), (" ", "no statement"), (";", "no statement"),
            ("INSERT INTO other.accounts VALUES (1, 1)", "no such table"))

    def test_wrong_numbers_of_parameters(self):
        self.each_refused("sql_error", *(
            ({"sql": sql, "params": params}, "param") for sql, params in (
                ("SELECT ?", []), ("SELECT ?", [1, 2]), ("SELECT ?, ?", [1]), ("SELECT 1", [1]),
                ("SELECT ?3", [1, 2]))))

    def test_extensions_are_off(self):
        self.each_refused("sql_error", ("SELECT load_extension('libm.so.6')", None),
                          ("SELECT writefile('x', 'y')", "no such function"),
                          ("SELECT readfile('/etc/passwd')", "no such function"))

    # ---- Constraints ----

    def test_constraints(self):
        self.each_refused(
            "constraint",
            ("UPDATE accounts SET balance = -1 WHERE id = 2",
             "CHECK constraint failed: balance >= 0"),
            ("INSERT INTO accounts VALUES (1, 5)", "UNIQUE constraint failed: accounts.id"),
            ("INSERT INTO accounts VALUES (99, NULL)",
             "NOT NULL constraint failed: accounts.balance"),
            ("INSERT INTO things (email) VALUES ('a@here')",
             "UNIQUE constraint failed: things.email"),
            ("UPDATE things SET n = 100", "CHECK constraint failed: n < 100"),
            ("INSERT INTO things (parent) VALUES (77)", "FOREIGN KEY constraint failed"),
            ("DELETE FROM things WHERE id = 2", "FOREIGN KEY constraint failed"),
            ("UPDATE things SET id = 9 WHERE id = 2", "FOREIGN KEY constraint failed"),
            ("INSERT INTO guarded VALUES (1, 13)", "thirteen is not wanted here"),
            ("INSERT INTO strictly VALUES (1, 'x')", "cannot store TEXT value in INTEGER column"),
            ("INSERT OR ROLLBACK INTO accounts VALUES (1, 5)", "UNIQUE constraint failed"),
            ("INSERT OR FAIL INTO accounts SELECT id + 9, 5 FROM accounts", "UNIQUE"),
            ("INSERT INTO keyed VALUES ('a', NULL, 1)", "NOT NULL constraint failed: keyed.b"))

    def test_deferred_constraints(self):
        """Seen at the end of the branch, and so no statement is to blame."""
        self.refused("constraint", "INSERT INTO things (late) VALUES (77)",
                     "FOREIGN KEY constraint failed", statement=None)
        self.results("INSERT INTO things (id, late) VALUES (50, 51)",
                     "INSERT INTO things (id) VALUES (51)")

    # ---- Expectations ----

    def test_expectations(self):
        update = "UPDATE accounts SET balance = balance + 0 WHERE id <= 3"
        for expect in (0, 1, 2, 4, {"min": 4}, {"max": 2}, {"min": 0, "max": 1}):
            for sql in (update, "SELECT id FROM accounts WHERE id <= 3",
                        "DELETE FROM accounts WHERE id <= 3",
                        "UPDATE accounts SET balance = 7 WHERE id <= 3 RETURNING id"):
                with self.subTest(expect=expect, sql=sql):
                    self.refused("expectation_failed", {"sql": sql, "expect": {"rows": expect}},
                                 "row(s), the statement " +
                                 ("returned 3" if sql.startswith("SELECT") else "changed 3"))
        self.refused("expectation_failed",
                     {"sql": "UPDATE accounts SET balance = 1 WHERE id = 99",
                      "expect": {"rows": 1}}, "expected 1 row(s), the statement changed 0")
        for expect in (3, {"min": 3}, {"max": 3}, {"min": 1, "max": 5}):
            self.results({"sql": update, "expect": {"rows": expect}})

    # ---- Values ----

    def test_values_come_back_as_they_went(self):
        blob = bytes(range(256))
        for value, kind in (
                (0, "integer"), (-1, "integer"), (2**53 - 1, "integer"), (1 - 2**53, "integer"),
                ({"int64": "9007199254740993"}, "integer"),
                ({"int64": "-9007199254740993"}, "integer"),
                ({"int64": "9223372036854775807"}, "integer"),
                ({"int64": "-9223372036854775808"}, "integer"),
                (0.5, "real"), (-1.25e-300, "real"), (5e-324, "real"),
                (1.7976931348623157e308, "real"), (0.1, "real"), (1 / 3, "real"), (1e300, "real"),
                (None, "null"), ("", "text"), ("plain", "text"), ("7", "text"),
                ("\u00e9\u2603\U0001f600\u202e\ufffd", "text"), ("\"\\/\b\f\n\r\t\x7f\x01", "text"),
                ("'; DROP TABLE accounts; --", "text"), ("x" * 1000000, "text"),
                ({"blob": ""}, "blob"), ({"blob": "AA=="}, "blob"),
                ({"blob": base64.b64encode(blob).decode()}, "blob"),
                ({"blob": base64.b64encode(blob * 4000).decode()}, "blob")):
            with self.subTest(value=str(value)[:60]):
                put, got = self.results(
                    {"sql": "INSERT OR REPLACE INTO typed VALUES (1, ?)", "params": [value]},
                    "SELECT v, typeof(v) FROM typed WHERE id = 1")
                self.assertEqual(put, {"rows_affected": 1})
                self.assertEqual(got, {"columns": ["v", "typeof(v)"], "rows": [[value, kind]]})
                stored, = self.world.query("east", "SELECT v FROM typed WHERE id = 1")[0]
                if isinstance(value, dict):
                    value = (int(value["int64"]) if "int64" in value
                             else base64.b64decode(value["blob"]))
                self.assertEqual(stored, value)

    def test_small_integers_sent_as_int64(self):
        got = self.results({"sql": "SELECT ?, typeof(?1)", "params": [{"int64": "7"}]})
        self.assertEqual(got[0]["rows"], [[7, "integer"]])

    def test_booleans_are_numbers_to_sqlite(self):
        got = self.results({"sql": "SELECT ?, ?, typeof(?1)", "params": [True, False]})
        self.assertEqual(got[0]["rows"], [[1, 0, "integer"]])

    def test_numbers_that_json_has_not(self):
        got = self.results("SELECT 9e999, -9e999, 0.0, -0.0, 9007199254740992, 1e15, 1.0")[0]
        high, low, *rest = got["rows"][0]
        self.assertIn(high, (None, "Infinity", "Inf"))
        self.assertIn(low, (None, "-Infinity", "-Inf"))
        self.assertEqual(rest, [0, 0, {"int64": "9007199254740992"}, 1e15, 1])

    def test_text_that_is_none(self):
        """SQLite keeps any bytes as text; those that JSON does not hold come as what they are."""
        for data in (b"\xff\x41\xc3\x28", b"A\0B", b"\0", b"ok\xed\xa0\x80", b"cut\xe2\x98"):
            got = self.results("SELECT CAST(x'%s' AS TEXT), 'x'" % data.hex())
            self.assertEqual(got[0]["rows"],
                             [[{"blob": base64.b64encode(data).decode()}, "x"]])

    def test_parameters_by_number_and_name(self):
        got = self.results({"sql": "SELECT ?2, ?1, ?2", "params": ["a", "b"]},
                           {"sql": "SELECT :x, @y, $z, :x", "params": [1, 2, 3]})
        self.assertEqual([r["rows"] for r in got], [[["b", "a", "b"]], [[1, 2, 3, 1]]])

    def test_shapes_of_results(self):
        got = self.results(
            "SELECT id, balance FROM accounts WHERE id > 8 ORDER BY id",
            "SELECT id FROM accounts WHERE 0", "SELECT 1 AS a, 2 AS a, 3 AS \"\u2603\"",
            "UPDATE accounts SET balance = 70 WHERE id > 8 RETURNING id, balance AS b",
            "DELETE FROM accounts WHERE id = 77", "INSERT INTO guarded VALUES (4, 4), (5, 5)",
            "SELECT id FROM copied", "SELECT count(*) FROM rich", "SELECT text FROM notes")
        self.assertEqual(got[0], {"columns": ["id", "balance"], "rows": [[9, 100], [10, 100]]})
        self.assertEqual(got[1], {"columns": ["id"], "rows": []})
        self.assertEqual(got[2], {"columns": ["a", "a", "\u2603"], "rows": [[1, 2, 3]]})
        self.assertEqual((got[3]["columns"], got[3]["rows"]), (["id", "b"], [[9, 70], [10, 70]]))
        self.assertEqual(got[4], {"rows_affected": 0})
        self.assertEqual(got[5], {"rows_affected": 2})
        self.assertEqual(got[6]["rows"], [[4], [5]])
        self.assertEqual(got[7]["rows"], [[10]])
        self.assertEqual(self.world.query("east", "SELECT count(*) FROM copied"), [(2,)])

    # ---- Limits ----

    def test_large_results(self):
        many = ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
                " SELECT i FROM n")
        self.assertEqual(len(self.results(many % 50000)[0]["rows"]), 50000)
        self.each_refused("not_supported", (many % 2000000, "--result-max"),
                          ("SELECT hex(zeroblob(3000000))", "--result-max"),
                          ("SELECT zeroblob(4000000)", "--result-max"))
        self.each_refused("sql_error", ("SELECT zeroblob(2000000000)", "too big"))

    def test_statements_without_end(self):
        endless = {"sql": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
                          " INSERT INTO typed (v) SELECT i FROM n"}
        before = self.world.dump("east"), self.world.dump("west")
        answer = self.submit([endless], with_west=True, timeout_ms=300)
        document = self.problem(answer, 409, "aborted")
        self.assertEqual((document["cause"]["code"], document["retryable"]), ("timeout", True))
        # In one phase the participant may have the last word, after the time-out.
        answer = self.submit([endless], timeout_ms=300)
        self.assertIn(answer.status, (202, 409), answer)
        path = answer.headers["location"]
        document = wire.ask(self.url, "GET", path + "?wait=20s").json()
        self.assertEqual((document["state"], document["outcome"]), ("aborted", "abort"))
        self.assertEqual(document["cause"]["code"], "timeout")
        self.assertEqual((self.world.dump("east"), self.world.dump("west")), before)
        self.moves_money()

    def test_many_statements_and_parameters(self):
        self.assertEqual(len(self.results(*["SELECT %d" % i for i in range(1000)])), 1000)
        got = self.results({"sql": "SELECT max(" + ", ".join("?" * 100) + ")",
                            "params": list(range(100))})
        self.assertEqual(got[0]["rows"], [[99]])


if __name__ == "__main__":
    checks.main(sys.argv)
