"""Real daemons on free ports, in a directory that goes away, for tests of the command line."""

import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading

START_SECONDS = 60
STOP_SECONDS = 60


class Daemon:
    """One process; started, it is ready."""

    def __init__(self, words, cwd):
        self.lines = []
        self.url = None
        self.settled = threading.Event()
        self.process = subprocess.Popen(words, cwd=cwd, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        encoding="utf-8", errors="replace")
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        if not self.settled.wait(START_SECONDS) or self.url is None:
            self.kill()
            raise AssertionError("%s did not get ready:\n%s" % (words[0], "".join(self.lines)))

    def read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            if "evt=daemon.ready " in line:
                self.url = line.split(" url=")[1].split()[0]
                self.settled.set()
        self.settled.set()

    def wait(self):
        status = self.process.wait(STOP_SECONDS)
        self.reader.join(STOP_SECONDS)
        self.process.stderr.close()
        return status

    def stop(self):
        """In good order; says what it ended with."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        self.process.kill()
        return self.wait()


class World:
    """East and west, each with ten accounts of 100, and a coordinator that knows both."""

    def __init__(self, programs):
        self.programs = programs
        self.directory = tempfile.mkdtemp(prefix="assent-cli-")
        self.daemons = {}
        for name in ("east", "west"):
            self.make_bank(name)
        self.start_agent("east")
        self.start_agent("west")
        self.start_coordinator()

    def close(self):
        for daemon in self.daemons.values():
            if daemon.process.poll() is None:
                daemon.kill()
        shutil.rmtree(self.directory)

    def path(self, name):
        return os.path.join(self.directory, name)

    def make_bank(self, name):
        bank = sqlite3.connect(self.path(name + ".db"))
        bank.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY,"
                     " balance INTEGER NOT NULL CHECK (balance >= 0))")
        bank.executemany("INSERT INTO accounts VALUES (?, 100)", [(i,) for i in range(1, 11)])
        bank.commit()
        bank.close()

    def balance(self, name, account=1):
        bank = sqlite3.connect(self.path(name + ".db"))
        try:
            return bank.execute("SELECT balance FROM accounts WHERE id = ?",
                                (account,)).fetchone()[0]
        finally:
            bank.close()

    def address(self, name):
        """Where it listened before, so that it is found again."""
        known = self.daemons.get(name)
        return known.url.split("://")[1] if known else "127.0.0.1:0"

    def start_agent(self, name):
        self.daemons[name] = Daemon(
            [os.path.join(self.programs, "assent-agent"), "sqlite:" + name + ".db", "--name", name,
             "--data", name, "--listen", self.address(name)], self.directory)

    def start_coordinator(self, *flags):
        self.daemons["coordinator"] = Daemon(
            [os.path.join(self.programs, "assentd"), "--data", "coordinator", "--listen",
             self.address("coordinator"), "--participant", "east=" + self.daemons["east"].url,
             "--participant", "west=" + self.daemons["west"].url, *flags], self.directory)

    def assent(self, *words, text=""):
        environment = dict(os.environ, ASSENT_URL=self.daemons["coordinator"].url)
        return subprocess.run([os.path.join(self.programs, "assent"), *words], input=text,
                              env=environment, cwd=self.directory, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
