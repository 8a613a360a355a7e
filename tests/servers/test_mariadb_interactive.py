"""usage: test_mariadb_interactive.py AGENT; interactive transactions at MariaDB."""

import os
import sys
import unittest

import interactive
import mariadb


class AtMariadb(interactive.Steps, unittest.TestCase):
    points = ("agent.maria.execute", "agent.maria.prepared", "agent.maria.decide",
              "agent.maria.decided")

    @classmethod
    def make_server(cls):
        return mariadb.Server()

    def sessions(self, name):
        return "SELECT id FROM information_schema.processlist WHERE user = 'assent' AND db = '%s'" % (
            self.world.database(name))

    def open_sessions(self, name):
        return int(self.server.sql("SELECT count(*) FROM information_schema.innodb_trx"
                                   " WHERE trx_mysql_thread_id IN (%s)" % self.sessions(name))[0])

    def end_sessions(self, name):
        for number in self.server.sql(self.sessions(name)):
            self.server.sql("KILL " + number, fail=False)

    def sleep_sql(self, seconds):
        return "SELECT SLEEP(%d)" % seconds

    def at_work(self, name, sql):
        return self.server.sql(self.sessions(name) + " AND info = '%s'" % sql) != []

    def large_sql(self, size):
        return "SELECT REPEAT('x', %d)" % size


if __name__ == "__main__":
    if mariadb.programs() is None:
        print("skipped: MariaDB is not installed (mariadb-server)")
        sys.exit(77)
    interactive.Steps.programs = os.path.dirname(os.path.abspath(sys.argv.pop(1)))
    unittest.main()
