"""A real PostgreSQL server in a scratch directory, as an ordinary user, ended by its process id."""

import glob
import os
import signal
import subprocess

from server import Process


def programs():
    """Where initdb and postgres are; None: not installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"),
                   key=lambda path: int(path.split("/")[4]))
    return os.path.dirname(found[-1]) if found else None


class Server(Process):
    """Superuser assent, no password unless `auth` says otherwise."""

    placeholders = ("$1", "$2")
    state = ("SELECT * FROM pg_prepared_xacts",
             "SELECT pid, state, wait_event_type, wait_event, query FROM pg_stat_activity")
    stop_signal, close_signal = signal.SIGINT, signal.SIGQUIT

    def __init__(self, max_prepared=100, settings=(), auth="trust"):
        super().__init__("assent-pg-", {"max_prepared_transactions": max_prepared,
                                        **dict(settings)})
        os.mkdir(self.data, 0o700)
        self.give(self.data)
        self.run(os.path.join(programs(), "initdb"), "-D", self.data, "-A", auth, "-U", "assent",
                 "--no-sync", "--locale=C.UTF-8", *(["--pwfile=" + self.password_file()]
                                                    if auth != "trust" else []))
        self.start()

    def password_file(self):
        path = os.path.join(self.directory, "password")
        with open(path, "w", encoding="utf-8") as file:
            file.write("s3cret-pa55\n")
        os.chmod(path, 0o644)
        return path

    def command(self):
        words = [os.path.join(programs(), "postgres"), "-D", self.data, "-p", str(self.port),
                 "-k", self.directory, "-c", "listen_addresses=127.0.0.1",
                 "-c", "shared_buffers=16MB", "-c", "logging_collector=off"]
        for name, value in self.settings.items():
            words += ["-c", "%s=%s" % (name, value)]
        return words

    def answers(self):
        done = subprocess.run([os.path.join(programs(), "pg_isready"), "-q", "-h", self.directory,
                               "-p", str(self.port)], timeout=60)
        return done.returncode == 0

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
