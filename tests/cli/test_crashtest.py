"""usage: test_crashtest.py ASSENT; what `assent crashtest` does beside its injections: it lists, refuses to test
nothing, and ends in good order when it is interrupted."""

import glob
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ASSENT = None
BOUND_S = 240
ONE = ["--seed", "1", "--scene", "load", "--only", "drop"]


def processes_of(directory):
    """The command lines that name it."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                words = file.read()
        except OSError:
            continue  # it has ended
        if directory in words:
            found.append(words.replace("\0", " "))
    return found


class Scratch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        os.chmod(folder.name, 0o711)  # servers come by it as another user
        self.environment = dict(os.environ, TMPDIR=folder.name)
        self.folder = folder.name

    def crashtest(self, *words):
        return subprocess.run([ASSENT, "crashtest", *words], env=self.environment, timeout=BOUND_S,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              encoding="utf-8")


class Crashtest(Scratch):
    def test_a_list_names_what_would_be_injected(self):
        done = self.crashtest("--list", *ONE, "--message", "prepare:1")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, "drop prepare:1 to east, scene load\n")
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_test_of_nothing_does_not_hold(self):
        done = self.crashtest(*ONE, "--message", "prepare:4000000")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("nothing to inject", done.stderr)

    def test_a_point_that_nobody_has_is_refused(self):
        for point in ("coord.decision.forgot", "coord.decision", "coord.decision.forced+agent.nothing"):
            done = self.crashtest("--point", point)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(f'"{point.rpartition("+")[2]}"', done.stderr)

    def test_an_interrupt_ends_all_processes_and_tells_what_was_done(self):
        crashtest = subprocess.Popen([ASSENT, "crashtest", "--seed", "1", "--only", "stop"], env=self.environment,
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     encoding="utf-8")
        until = time.monotonic() + BOUND_S
        while not any("assent-agent" in words for words in processes_of(self.folder)):
            self.assertIsNone(crashtest.poll())
            self.assertLess(time.monotonic(), until)
            time.sleep(0.02)
        crashtest.send_signal(signal.SIGINT)
        told, complaints = crashtest.communicate(timeout=BOUND_S)
        self.assertEqual(crashtest.returncode, 1, complaints)
        self.assertIn("Not all was injected: interrupted. So far", told)
        self.assertEqual(processes_of(self.folder), [])
        self.assertEqual(os.listdir(self.folder), [])


@unittest.skipUnless(glob.glob("/usr/lib/postgresql/*/bin/postgres"), "PostgreSQL is not installed")
class LostServer(Scratch):
    """Servers whose settings are damaged while they run: after their kill they do not start."""

    def damage(self, worlds):
        """All of the first @worlds of them."""
        damaged = set()
        while not self.over.wait(0.01) and len(damaged) < worlds:
            for started in glob.glob(self.folder + "/*/run-*/*/data/postmaster.pid"):
                settings = os.path.join(os.path.dirname(started), "postgresql.conf")
                if settings not in damaged and len(damaged) < worlds:
                    with open(settings, "a", encoding="ascii") as file:
                        file.write("no setting\n")
                    damaged.add(settings)

    def crashtest_with_damage(self, worlds):
        self.over = threading.Event()
        thread = threading.Thread(target=self.damage, args=(worlds,))
        thread.start()
        try:
            return self.crashtest("--server", "shop=postgresql", "--only", "nothing", "--scene", "load",
                                  "--seed", "1", "--jobs", "1")
        finally:
            self.over.set()
            thread.join()

    def test_a_run_whose_server_is_lost_is_no_violation_and_is_made_again(self):
        done = self.crashtest_with_damage(1)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stderr, "not judged: nothing.*\n  the postgresql server does not start: see .*/log")
        self.assertIn("runs that were not judged, for their server did not start again: 1", done.stdout)
        self.assertIn("Everything that is promised held", done.stdout)

    def test_when_every_run_is_lost_the_test_does_not_hold(self):
        done = self.crashtest_with_damage(100)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("Not all was injected: a server did not come up again", done.stdout)
        self.assertNotIn("violation", done.stderr)


if __name__ == "__main__":
    ASSENT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
