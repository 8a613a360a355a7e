"""A real MariaDB server in a scratch directory, as an ordinary user, ended by its process id."""

import os
import shutil
import signal
import subprocess
import time

from server import START_SECONDS, Process

PASSWORD = "s3cret-pa55"


def programs():
    """What runs the server; None: not installed."""
    return shutil.which("mariadbd", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")


class Session:
    """A program that is connected until it is closed."""

    def __init__(self, words):
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        encoding="utf-8")

    def say(self, text):
        """Until it is done."""
        self.process.stdin.write(text + "; SELECT 'done';\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != "done\n":
            raise AssertionError("it failed: " + text)

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(60)
            self.process.stdout.close()


class Server(Process):
    """Root without a password on the socket; agents come as the user assent, with one."""

    placeholders = ("?", "?")
    state = ("XA RECOVER FORMAT='SQL'", "SHOW FULL PROCESSLIST", "SHOW ENGINE INNODB STATUS")
    stop_signal, close_signal = signal.SIGTERM, signal.SIGKILL

    def __init__(self, settings=()):
        super().__init__("assent-maria-", settings)
        self.socket = os.path.join(self.directory, "sock")
        # A server that starts empties its directory for temporary tables, also of another's.
        self.run("mariadb-install-db", "--no-defaults", "--datadir=" + self.data,
                 "--tmpdir=" + self.directory, "--skip-test-db",
                 "--auth-root-authentication-method=normal", "--skip-name-resolve",
                 "--innodb-log-file-size=8M")
        self.start()
        self.sql("CREATE USER assent@'%%' IDENTIFIED BY '%s'" % PASSWORD)

    def command(self):
        words = [programs(), "--no-defaults", "--datadir=" + self.data, "--socket=" + self.socket,
                 "--port=%d" % self.port, "--bind-address=127.0.0.1", "--skip-name-resolve",
                 "--pid-file=" + os.path.join(self.directory, "pid"), "--tmpdir=" + self.directory,
                 "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M",
                 "--character-set-server=utf8mb4"]
        for name, value in self.settings.items():
            words.append("--%s=%s" % (name.replace("_", "-"), value))
        return words

    def answers(self):
        return self.sql("SELECT 1", fail=False) == ["1"]

    def url(self, database, user="assent", password=PASSWORD):
        return "mariadb://%s:%s@127.0.0.1:%d/%s" % (user, password, self.port, database)

    def sql(self, text, database="", fail=True):
        """The rows, each as a line of fields with '|' between; as root."""
        done = subprocess.run(["mariadb", "--no-defaults", "--batch", "--skip-column-names",
                               "--raw", "-S", self.socket, "-u", "root", database], input=text,
                              timeout=60, encoding="utf-8", stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        if done.returncode != 0 and fail:
            raise AssertionError(done.stderr)
        return (done.stdout.replace("\t", "|").splitlines() if done.returncode == 0 else None)

    def session(self, database):
        """One that stays."""
        return Session(["mariadb", "--no-defaults", "--batch", "--skip-column-names", "-n", "-S",
                        self.socket, "-u", "root", database])

    def make_bank(self, database, accounts=10, balance=100):
        self.sql("CREATE DATABASE `%s`;"
                 "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON `%s`.* TO assent@'%%'"
                 % (database, database))
        self.sql("CREATE TABLE accounts (id int PRIMARY KEY,"
                 " balance bigint NOT NULL CHECK (balance >= 0)) ENGINE=InnoDB;"
                 "CREATE TABLE ledger (txn varchar(100), leg varchar(100), amount bigint,"
                 " PRIMARY KEY (txn, leg)) ENGINE=InnoDB;"
                 "INSERT INTO accounts SELECT seq, %d FROM seq_1_to_%d;" % (balance, accounts),
                 database)

    def names(self):
        """The XA names of what is prepared, of whomever, as they stand in statements."""
        found = []
        for line in self.sql("XA RECOVER"):
            number, first, second, data = line.split("|", 3)
            found.append("'%s','%s',%s" % (data[:int(first)],
                                           data[int(first):int(first) + int(second)], number))
        return found

    def prepared(self, database):
        """What agents have prepared. The server tells it of all databases; whose agents have been
        here, the markers do."""
        agents = self.sql("SET tx_isolation = 'READ-UNCOMMITTED';"
                          "SELECT DISTINCT LOWER(HEX(participant)) FROM _assent_applied",
                          database, fail=False) or []
        return [name for name in self.names() if name.startswith("'assent:")
                and name.split(",")[1][1:33] in agents]

    def drop(self, database):
        """With all that holds it: a prepared transaction keeps its tables."""
        end = time.monotonic() + START_SECONDS
        while self.prepared(database) and time.monotonic() < end:
            for name in self.prepared(database):  # once its session is gone
                self.sql("XA ROLLBACK " + name, fail=False)
        self.sql("SET lock_wait_timeout = 5, innodb_lock_wait_timeout = 5; DROP DATABASE `%s`"
                 % database, fail=False)
