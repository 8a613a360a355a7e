"""usage: test_finds.py ASSENT; `assent crashtest` objects to participants with a flaw, each by an injection
that brings it out, and the command that it prints objects again. The same participant without a flaw
passes."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

ASSENT = None
BANK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bank.py")
LIMIT_S = 900

# One client, so that a message is the same in each run. What brings it out, and as what it is found (it
# may be in the first run without a fault: a coordinator that starts again repeats its last commit).
FLAWS = {
    "forget": (["--only", "kill-after", "--process", "shop", "--message", "prepare", "--full"],
               ("lost", "not-atomic")),
    "twice": (["--only", "repeat", "--process", "shop", "--message", "commit", "--full"],
              ("lost", "ledger", "money", "twice", "dirty-read")),
    "early": (["--only", "nothing", "--scene", "doubt"], ("held", "not-atomic")),
}


class Finds(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="assent-finds-")
        self.addCleanup(shutil.rmtree, self.directory)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def tables(self, database):
        sql = subprocess.run([ASSENT, "crashtest", "--tables", "sqlite"], check=True, timeout=60,
                             stdout=subprocess.PIPE).stdout
        subprocess.run(["sqlite3", database], input=sql, check=True, timeout=60)

    def run_it(self, words):
        environment = dict(os.environ, TMPDIR=self.directory,
                           PATH=os.path.dirname(ASSENT) + ":" + os.environ["PATH"])
        return subprocess.run(words, env=environment, shell=isinstance(words, str), timeout=LIMIT_S,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")

    def crashtest(self, flaw, *words):
        database = os.path.join(self.directory, "shop.db")
        self.tables(database)
        command = f"{sys.executable} {BANK} {self.port} {database} {flaw}"
        return self.run_it([ASSENT, "crashtest", "--seed", "1", "--clients", "1", "--violations", "1",
                            "--participant", f"shop=http://127.0.0.1:{self.port}",
                            "--participant-command", f"shop={command}", *words])

    def finds(self, flaw):
        words, expected = FLAWS[flaw]
        done = self.crashtest(flaw, *words)
        said = done.stdout + done.stderr
        self.assertEqual(done.returncode, 1, said)
        # A machine that is slow repeats messages by itself, and the flaw may show in another way.
        self.assertTrue(any(f"\n{word}: " in done.stderr for word in expected) or
                        "do not end in" in done.stderr, said)
        again = re.search(r"^  again: (assent crashtest .*)$", done.stderr, re.MULTILINE)
        self.assertIsNotNone(again, said)
        directory = re.search(r"^  logs and databases: (.*)$", done.stderr, re.MULTILINE)
        self.assertTrue(os.path.exists(os.path.join(directory.group(1), "coordinator.log")), said)
        done = self.run_it(again.group(1))
        self.assertEqual(done.returncode, 1, again.group(1) + "\n" + done.stdout + done.stderr)
        self.assertIn("violation: ", done.stderr)

    def test_a_promise_that_is_forgotten(self):
        self.finds("forget")

    def test_a_commit_that_is_done_twice(self):
        self.finds("twice")

    def test_work_that_is_applied_before_it_is_decided(self):
        self.finds("early")

    def test_nothing_where_nothing_is_wrong(self):
        done = self.crashtest("none", "--only", "kill-after,repeat,delay", "--process", "shop",
                              "--message", "commit:1")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("Everything that is promised held.", done.stdout)

    def test_a_participant_that_is_not_there_is_named(self):
        done = self.run_it([ASSENT, "crashtest", "--participant", f"shop=http://127.0.0.1:{self.port}",
                            "--participant-command", "shop=false", "--only", "stop"])
        self.assertEqual(done.returncode, 1)
        self.assertIn("shop does not start", done.stderr)


if __name__ == "__main__":
    ASSENT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
