"""usage: test_mariadb_recovery.py AGENT; agents and servers that die, and what the server holds that
nobody knows of."""

import json
import os
import sys
import threading
import unittest

import mariadb
import recovery_cases
import world
from world import wait_until

PROGRAMS = None


class Recovery(recovery_cases.Recovery, unittest.TestCase):
    points = "agent.maria."
    one_phase_points = ["agent.maria.finish", "agent.maria.finished"]
    lost_at = "agent.maria.prepared"
    sleep = "SELECT SLEEP(2)"

    @classmethod
    def setUpClass(cls):
        cls.programs = PROGRAMS
        cls.server = mariadb.Server()
        cls.addClassCleanup(cls.server.close)

    def end_sessions(self):
        for number in self.server.sql("SELECT ID FROM information_schema.PROCESSLIST"
                                      " WHERE USER = 'assent'"):
            self.server.sql("KILL " + number, fail=False)


if __name__ == "__main__":
    if mariadb.programs() is None:
        print("skipped: MariaDB is not installed (mariadb-server)")
        sys.exit(77)
    PROGRAMS = os.path.dirname(os.path.abspath(sys.argv.pop(1)))
    unittest.main()
