"""usage: test_crashtest.py ASSENT; what `assent crashtest` does beside its injections: it lists, refuses to test
nothing, and ends in good order when it is interrupted."""

import os
import signal
import subprocess
import sys
import tempfile
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


class Crashtest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.environment = dict(os.environ, TMPDIR=folder.name)
        self.folder = folder.name

    def crashtest(self, *words):
        return subprocess.run([ASSENT, "crashtest", *words], env=self.environment, timeout=BOUND_S,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              encoding="utf-8")

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


if __name__ == "__main__":
    ASSENT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
