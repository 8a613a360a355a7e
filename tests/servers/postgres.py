"""A real PostgreSQL server in a scratch directory, as an ordinary user, ended by its process id."""

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

START_SECONDS = 60


def programs():
    """Where initdb and postgres are; None: not installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"),
                   key=lambda path: int(path.split("/")[4]))
    return os.path.dirname(found[-1]) if found else None


def ordinary(words):
    """The server refuses to be run by root."""
    if os.geteuid() != 0:
        return words
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *words]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Superuser assent, no password unless `auth` says otherwise; listens on a port of its own."""

    placeholders = ("$1", "$2")

    def __init__(self, max_prepared=100, settings=(), auth="trust"):
        self.directory = tempfile.mkdtemp(prefix="assent-pg-")
        self.data = os.path.join(self.directory, "data")
        self.port = free_port()
        self.process = None
        os.chmod(self.directory, 0o711)
        os.mkdir(self.data, 0o700)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.data, nobody.pw_uid, nobody.pw_gid)
            os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)
        self.run("initdb", "-D", self.data, "-A", auth, "-U", "assent", "--no-sync",
                 "--locale=C.UTF-8", *(["--pwfile=" + self.password_file()]
                                       if auth != "trust" else []))
        self.settings = {"max_prepared_transactions": max_prepared, **dict(settings)}
        self.start()

    def password_file(self):
        path = os.path.join(self.directory, "password")
        with open(path, "w", encoding="utf-8") as file:
            file.write("s3cret-pa55\n")
        os.chmod(path, 0o644)
        return path

    def run(self, program, *arguments):
        done = subprocess.run(ordinary([os.path.join(programs(), program), *arguments]),
                              cwd=self.directory, stdin=subprocess.DEVNULL, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
        if done.returncode != 0:
            raise AssertionError("%s: %s" % (program, done.stdout))

    def launch(self):
        words = [os.path.join(programs(), "postgres"), "-D", self.data, "-p", str(self.port),
                 "-k", self.directory, "-c", "listen_addresses=127.0.0.1",
                 "-c", "shared_buffers=16MB", "-c", "logging_collector=off"]
        for name, value in self.settings.items():
            words += ["-c", "%s=%s" % (name, value)]
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self.process = subprocess.Popen(ordinary(words), cwd=self.directory, stdout=log,
                                            stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)

    def answers(self):
        done = subprocess.run([os.path.join(programs(), "pg_isready"), "-q", "-h", self.directory,
                               "-p", str(self.port)], timeout=60)
        return done.returncode == 0

    def start(self):
        """Until it answers. After a kill the last of its processes may still be ending."""
        end = time.monotonic() + START_SECONDS
        self.launch()
        while not self.answers():
            if time.monotonic() > end:
                raise AssertionError("the server does not start:\n" + self.log())
            if self.process.poll() is not None:
                self.launch()
            time.sleep(0.05)

    def log(self):
        with open(os.path.join(self.directory, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()[-4000:]

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)

    def kill(self):
        self.process.kill()
        self.process.wait(60)

    def restart(self):
        self.stop()
        self.start()

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def url(self, database, user="assent"):
        return "postgresql://%s@127.0.0.1:%d/%s" % (user, self.port, database)

    def sql(self, text, database="postgres", fail=True):
        """The rows, each as a line of fields with '|' between."""
        done = subprocess.run([os.path.join(programs(), "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1",
                               "-h", self.directory, "-p", str(self.port), "-U", "assent",
                               database], input=text, timeout=60, encoding="utf-8",
                              env=dict(os.environ, PGPASSWORD="s3cret-pa55"),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0 and fail:
            raise AssertionError(done.stderr)
        return done.stdout.splitlines() if done.returncode == 0 else None

    def make_bank(self, database, accounts=10, balance=100):
        self.sql('CREATE DATABASE "%s"' % database)
        self.sql("CREATE TABLE accounts (id int PRIMARY KEY,"
                 " balance bigint NOT NULL CHECK (balance >= 0));"
                 "CREATE TABLE ledger (txn text, leg text, amount bigint,"
                 " PRIMARY KEY (txn, leg));"
                 "INSERT INTO accounts SELECT i, %d FROM generate_series(1, %d) i;"
                 % (balance, accounts), database)

    def prepared(self, database):
        """What agents have prepared."""
        return self.sql("SELECT gid FROM pg_prepared_xacts WHERE database = '%s'"
                        " AND gid LIKE 'assent:%%'" % database)

    def drop(self, database):
        """With all that holds it."""
        for gid in self.prepared(database):
            self.sql("ROLLBACK PREPARED '%s'" % gid, database, fail=False)
        self.sql('DROP DATABASE "%s" WITH (FORCE)' % database, fail=False)
