"""usage: test_tour.py README BIN; plays the tours of README.md with the built programs.

Fenced blocks marked `sh tour` are run, in order, in one shell. The `text tour` block that follows
one is what it must print, but for ids, times and ports. So are those marked `servers`, with a
PostgreSQL and a MariaDB server that are started for it."""

import glob
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "servers"))
import mariadb
import postgres

README = BIN = None
BOUND_S = 90
MARK = "@@ block"


def blocks(text, mark):
    """[commands, expected output] for each `sh tour`, or whatever the mark is."""
    found = []
    for kind, body in re.findall(r"^```(sh|text) %s\n(.*?)^```$" % mark, text, re.S | re.M):
        if kind == "sh":
            found.append([body, ""])
        else:
            found[-1][1] += body
    return found


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [str(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports


def essence(output):
    """The lines of an output, without what differs from run to run."""
    lines = []
    for line in output.splitlines():
        if re.search(r"\bKilled\b", line):  # the shell's own notice, whenever it looks
            continue
        if line == "recovering":  # it was asked for a moment too early, and again
            continue
        line = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", line)
        line = re.sub(r"\b[0-9.]+ (us|ms|s)\b", "TIME", line)
        line = re.sub(r"127\.0\.0\.1:[0-9]+", "ADDRESS", line)
        # Who was aborted by another's refusal had voted, or had not.
        line = re.sub(r"^(\w+) +(yes|no|-) +aborted\b", r"\1 VOTE aborted", line)
        lines.append(" ".join(line.split()))
    return [line for line in lines if line]


class Tour(unittest.TestCase):
    maxDiff = None

    def play(self, script, ports, more):
        """(what it printed, what the daemons logged), or None when a port was taken."""
        environment = {**os.environ, **more, "PATH": BIN + os.pathsep + os.environ["PATH"],
                       "ASSENT_LISTEN": "127.0.0.1:" + ports["7400"],
                       "ASSENT_URL": "http://127.0.0.1:" + ports["7400"]}
        with tempfile.TemporaryDirectory() as folder:
            shell = subprocess.Popen(["bash", "-c", script], cwd=folder, env=environment,
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, encoding="utf-8",
                                     start_new_session=True)
            try:
                output = shell.communicate(timeout=BOUND_S)[0]
                logged = self.logs(folder)
                return None if "is in use; stop the other process" in logged else (output, logged)
            finally:
                try:
                    os.killpg(shell.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                shell.communicate()

    @staticmethod
    def logs(folder):
        text = ""
        for path in sorted(glob.glob(os.path.join(folder, "**", "*.log"), recursive=True)):
            with open(path, encoding="utf-8") as log:
                text += "---- %s\n%s" % (os.path.basename(path), log.read())
        return text

    def test_tour(self):
        self.holds("tour", 6)

    def test_servers(self):
        if postgres.programs() is None or mariadb.programs() is None:
            self.skipTest("PostgreSQL and MariaDB are not both installed")
        shop, bank = postgres.Server(), mariadb.Server()
        self.addCleanup(shop.close)
        self.addCleanup(bank.close)
        shop.sql("CREATE ROLE admin SUPERUSER LOGIN; CREATE DATABASE shop")
        bank.sql("DROP USER assent@'%'; CREATE DATABASE bank")
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        with open(os.path.join(home.name, ".my.cnf"), "w", encoding="utf-8") as file:
            file.write("[client]\nsocket=%s\n" % bank.socket)
        environment = {"PGHOST": "127.0.0.1", "PGPORT": str(shop.port), "PGUSER": "admin",
                       "MYSQL_UNIX_PORT": bank.socket, "HOME": home.name}
        subprocess.run(["psql", "-Xqd", "postgres", "-c", "ALTER ROLE assent RENAME TO first"],
                       env={**os.environ, **environment}, check=True)
        table = ("CREATE TABLE accounts (owner varchar(20) PRIMARY KEY, balance int NOT NULL"
                 " CHECK (balance >= 0)); INSERT INTO accounts VALUES ('%s', %d)")
        subprocess.run(["psql", "-Xqd", "shop", "-c", table % ("carol", 100)],
                       env={**os.environ, **environment}, check=True)
        bank.sql(table % ("dave", 50), "bank")
        self.holds("servers", 3, environment)

    def holds(self, mark, least, more=None):
        with open(README, encoding="utf-8") as file:
            tour = blocks(file.read(), mark)
        self.assertGreaterEqual(len(tour), least)
        script = f"\necho '{MARK}'\n".join(commands for commands, _ in tour)
        played = None
        for _ in range(3):
            ports = dict(zip(("7400", "7411", "7412", "7413", "7414"), free_ports(5)))
            if played is None:
                played = self.play(re.sub(r"\b74(00|11|12|13|14)\b", lambda m: ports[m.group()],
                                          script), ports, more or {})
        self.assertIsNotNone(played, "no free ports")
        output, logged = played
        parts = output.split(MARK + "\n")
        self.assertEqual(len(parts), len(tour), output + logged)
        for (commands, expected), said in zip(tour, parts):
            with self.subTest(commands=commands):
                self.assertEqual(essence(said), essence(expected), said + logged)


if __name__ == "__main__":
    README, BIN = map(os.path.abspath, sys.argv[1:3])
    unittest.main(argv=sys.argv[:1])
