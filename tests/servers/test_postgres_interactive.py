"""usage: test_postgres_interactive.py AGENT PG_TAG; interactive transactions at PostgreSQL."""

import os
import sys
import unittest

import interactive
import postgres


class AtPostgres(interactive.Steps, unittest.TestCase):
    @classmethod
    def make_server(cls):
        return postgres.Server()

    def sessions(self, name):
        return (" FROM pg_stat_activity WHERE application_name LIKE 'assent-agent %%' AND datname = '%s'"
                " AND backend_type = 'client backend'" % self.world.database(name))

    def open_sessions(self, name):
        return int(self.server.sql("SELECT count(*)" + self.sessions(name)
                                   + " AND state <> 'idle'")[0])

    def end_sessions(self, name):
        self.server.sql("SELECT pg_terminate_backend(pid)" + self.sessions(name))

    points = ["agent.pg." + name for name in ("execute", "prepared", "record", "recorded",
                                              "decide", "decided")]

    def test_the_server_looks_whether_the_agent_is_still_there(self):
        txn = self.open()
        rows = self.does(txn, "east", "SELECT current_setting('tcp_keepalives_' || word)"
                         " FROM (VALUES ('idle'), ('interval'), ('count')) AS setting (word)")[0]["rows"]
        self.assertEqual(rows, [["30"], ["10"], ["3"]])
        self.commits(txn)

    def at_work(self, name, sql):
        return self.server.sql("SELECT pid" + self.sessions(name)
                               + " AND state = 'active' AND query = '%s'" % sql)

    def large_sql(self, size):
        return "SELECT repeat('x', %d)" % size

    def sleep_sql(self, seconds):
        return "SELECT pg_sleep(%d)" % seconds


if __name__ == "__main__":
    if postgres.programs() is None:
        print("skipped: PostgreSQL is not installed (postgresql-15)")
        sys.exit(77)
    interactive.Steps.programs = os.path.dirname(os.path.abspath(sys.argv.pop(1)))
    sys.argv.pop(1)  # PG_TAG
    unittest.main()
