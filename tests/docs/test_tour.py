"""usage: test_tour.py README BIN; plays the tour of README.md with the built programs.

Fenced blocks marked `sh tour` are run, in order, in one shell. The `text tour` block that follows
one is what it must print, but for ids, times and ports."""

import glob
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

README = BIN = None
BOUND_S = 90
MARK = "@@ block"


def blocks(text):
    """[commands, expected output] for each `sh tour`."""
    found = []
    for kind, body in re.findall(r"^```(sh|text) tour\n(.*?)^```$", text, re.S | re.M):
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
        line = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", line)
        line = re.sub(r"\b[0-9.]+ (us|ms|s)\b", "TIME", line)
        line = re.sub(r"127\.0\.0\.1:[0-9]+", "ADDRESS", line)
        # Who was aborted by another's refusal had voted, or had not.
        line = re.sub(r"^(\w+) +(yes|no|-) +aborted\b", r"\1 VOTE aborted", line)
        lines.append(" ".join(line.split()))
    return [line for line in lines if line]


class Tour(unittest.TestCase):
    maxDiff = None

    def play(self, script, ports):
        environment = {**os.environ, "PATH": BIN + os.pathsep + os.environ["PATH"],
                       "ASSENT_LISTEN": "127.0.0.1:" + ports["7400"],
                       "ASSENT_URL": "http://127.0.0.1:" + ports["7400"]}
        with tempfile.TemporaryDirectory() as folder:
            shell = subprocess.Popen(["bash", "-c", script], cwd=folder, env=environment,
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, encoding="utf-8",
                                     start_new_session=True)
            try:
                output = shell.communicate(timeout=BOUND_S)[0]
                return None if self.was_taken(folder) else output
            finally:
                try:
                    os.killpg(shell.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                shell.communicate()

    @staticmethod
    def was_taken(folder):
        """Did another program get one of the ports first?"""
        for path in glob.glob(os.path.join(folder, "**", "*.log"), recursive=True):
            with open(path, encoding="utf-8") as log:
                if "is in use; stop the other process" in log.read():
                    return True
        return False

    def test_tour(self):
        with open(README, encoding="utf-8") as file:
            tour = blocks(file.read())
        self.assertGreater(len(tour), 5)
        script = f"\necho '{MARK}'\n".join(commands for commands, _ in tour)
        output = None
        for _ in range(3):
            ports = dict(zip(("7400", "7411", "7412"), free_ports(3)))
            if output is None:
                output = self.play(re.sub(r"\b74(00|11|12)\b", lambda m: ports[m.group()], script),
                                   ports)
        self.assertIsNotNone(output, "no free ports")
        parts = output.split(MARK + "\n")
        self.assertEqual(len(parts), len(tour), output)
        for (commands, expected), said in zip(tour, parts):
            with self.subTest(commands=commands):
                self.assertEqual(essence(said), essence(expected))


if __name__ == "__main__":
    README, BIN = map(os.path.abspath, sys.argv[1:3])
    unittest.main(argv=sys.argv[:1])
