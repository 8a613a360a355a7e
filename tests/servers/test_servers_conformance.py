"""usage: test_servers_conformance.py AGENT; `assent crashtest --conformance` of agents at PostgreSQL and
MariaDB, which it kills and starts again."""

import concurrent.futures
import os
import subprocess
import sys
import tempfile
import unittest

import mariadb
import postgres
import world  # noqa: F401  (brings the path to the following)
import test_conformance as suite

AGENT = None
BANK = "crashtest"


class Conformance(unittest.TestCase):
    def make_bank(self, server, dialect):
        tables = subprocess.run([os.path.join(suite.BIN, "assent"), "crashtest", "--tables", dialect],
                                check=True, timeout=60, stdout=subprocess.PIPE, encoding="utf-8").stdout
        server.make_bank(BANK)
        server.sql(tables + "INSERT INTO crashtest_accounts VALUES (1, 100)", BANK)

    def start_agent(self, server, name):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        agent = suite.Supervised(folder.name, lambda port: [
            AGENT, server.url(BANK), "--name", name, "--data", "log", "--listen", "127.0.0.1:" + port])
        self.addCleanup(agent.close)
        return agent

    def test_the_agents_of_servers_conform(self):
        agents = []
        for dialect, make in (("postgresql", postgres.Server), ("mariadb", mariadb.Server)):
            server = make()
            self.addCleanup(server.close)
            self.make_bank(server, dialect)
            agents.append((dialect, server, self.start_agent(server, dialect)))
        with concurrent.futures.ThreadPoolExecutor(len(agents)) as pool:
            said = list(pool.map(lambda it: suite.conformance(
                it[2].daemon.url, "--restart-command", it[2].restart_command()), agents))
        for (dialect, server, _), (status, results, document) in zip(agents, said):
            with self.subTest(dialect):
                self.assertEqual((status, set(results.values())), (0, {"pass"}), document)
                self.assertTrue(set(suite.BASICS + suite.DOUBTS) < set(results))
                self.assertEqual(server.prepared(BANK), [])


if __name__ == "__main__":
    AGENT = os.path.abspath(sys.argv[1])
    suite.BIN = os.path.dirname(AGENT)
    if postgres.programs() is None or mariadb.programs() is None:
        print("skipped: PostgreSQL and MariaDB are not both installed (postgresql-15, mariadb-server)")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
