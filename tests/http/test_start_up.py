"""usage: test_start_up.py [TEST…] DIRECTORY; starts that must be refused.

Each ends by itself, soon, with a status and one message on stderr that names what is wrong and says
what to do. What it found stays byte for byte as it was."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

import checks
import daemons
import wire

USAGE, FAILED, HALTED = 2, 1, 70
BOUND_S = 20
NOBODY_UID = 65534
NOTHING_FORGOTTEN = "00000000-0000-7000-8000-000000000000"


class StartUp(unittest.TestCase):
    """Tests of both daemons; the classes below say which."""

    program = None
    resource = []

    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix="assent-start-")
        self.addCleanup(shutil.rmtree, self.scratch)
        self.set_up_again()

    def set_up_again(self):
        """A database without owner, and no data directory."""
        shutil.rmtree(self.path("data"), ignore_errors=True)
        for name in ("bank.db", "bank.db-wal", "bank.db-shm"):
            if os.path.exists(self.path(name)):
                os.remove(self.path(name))
        with contextlib.closing(sqlite3.connect(self.path("bank.db"))) as bank:
            bank.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER)")
            bank.commit()

    def path(self, *names):
        return os.path.join(self.scratch, *names)

    def words(self, *flags):
        return [os.path.join(checks.PROGRAMS, self.program), *self.resource, "--data", "data",
                "--listen", "127.0.0.1:0", *flags]

    def start(self, *flags):
        daemon = daemons.Daemon(self.words(*flags), self.scratch)
        self.addCleanup(lambda: daemon.process.poll() is None and daemon.kill())
        return daemon

    def run_words(self, words, env=None, user=None):
        return subprocess.run(words, cwd=self.scratch, env=dict(os.environ, **(env or {})),
                              stdin=subprocess.DEVNULL, timeout=BOUND_S, capture_output=True,
                              encoding="utf-8", errors="replace", user=user, group=user,
                              extra_groups=[] if user else None)

    def contents(self):
        """All files but LOCK, which holds the last process, and empty ones."""
        found = {}
        for folder, _, names in os.walk(self.scratch):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.isfile(path) and name != "LOCK" and os.path.getsize(path) > 0:
                    with open(path, "rb") as file:
                        found[os.path.relpath(path, self.scratch)] = file.read()
        return found

    def refused(self, status, *said, words=None, env=None, user=None, changes=False):
        """The start fails so, says all this, and changes nothing."""
        # Reading a file would end the locks that this process has on it.
        before = None if changes else self.contents()
        done = self.run_words(words or self.words(), env, user)
        self.assertEqual(done.returncode, status, done)
        self.assertEqual(done.stdout, "", done)
        for text in said:
            self.assertIn(text, done.stderr)
        self.assertLessEqual(len(done.stderr.splitlines()), 3, done.stderr)
        for bad in ("Sanitizer", "runtime error", "assert", "daemon.ready"):
            self.assertNotIn(bad, done.stderr)
        if not changes:
            after = self.contents()
            self.assertEqual(set(after), set(before))
            self.assertEqual([name for name in after if after[name] != before[name]], [])
        return done.stderr

    def usage(self, *said, flags=(), **more):
        """Refused before anything was touched."""
        text = self.refused(USAGE, self.program + ": ", *said, words=self.words(*flags), **more)
        self.assertFalse(os.path.exists(self.path("data")))
        return text

    # ---- The command line and the settings ----

    def test_unknown_flags(self):
        self.usage("unknown flag --frobnicate", "--help", flags=["--frobnicate"])
        self.usage("unknown flag --listn", "did you mean --listen?", flags=["--listn=x"])
        self.usage("unknown flag -x", flags=["-x"])
        self.usage("unexpected \"more\"", "--help", flags=["more"])

    def test_bad_values(self):
        for flag, value, said in (
                ("--connections-max", "many", "a whole number"),
                ("--connections-max", "3", "4"), ("--connections-max", "-1", None),
                ("--connections-max", "", None), ("--connections-max", "1.5", None),
                ("--connections-max", "99999999999999999999999", None),
                ("--body-max", "4X", "4M"), ("--body-max", "1", None),
                ("--drain", "soon", "ms, s, m, h or d"),
                ("--retention", "0s", None), ("--log-level", "loud", "debug, info, warn or error"),
                ("--log-format", "xml", "logfmt or json")):
            with self.subTest(flag=flag, value=value):
                self.usage(flag, *([said] if said else []), flags=[flag + "=" + value])
        self.usage("--drain needs a value", flags=["--drain"])
        self.usage("--version takes no value", flags=["--version=1"])

    def test_bad_environment(self):
        self.usage("ASSENT_CONNECTIONS_MAX", "\"many\"", env={"ASSENT_CONNECTIONS_MAX": "many"})
        self.usage("nonsense", env={"ASSENT_FAILPOINTS": "nonsense"})

    def test_bad_failpoints(self):
        point = "coord.log.force" if self.program == "assentd" else "agent.log.force"
        for spec, said in (("nonsense", "expected NAME=ACTION"), (point, "expected NAME=ACTION"),
                           (point + "=explode", "kill, error"), (point + "=delay", "delay(MS)"),
                           (point + "=delay(x)", "delay(MS)"), (point + "=x*kill", None),
                           ("=kill", None),
                           ("no.such.point=kill", "--list-failpoints"),
                           (point[:-1] + "=kill", "did you mean \"%s\"?" % point),
                           (point + "=kill;no.such.point=kill", "no.such.point")):
            with self.subTest(spec=spec):
                self.usage("failpoint", *([said] if said else []), flags=["--failpoints", spec])

    def test_bad_settings_files(self):
        for text, said in (
                ("drian: 5s\n", ":1:1: unknown key \"drian\"; did you mean \"drain\"?"),
                ("drain: 5s\n\n  \nfrobnicate: 1\n", ":4:1: unknown key \"frobnicate\""),
                ("drain: soon\n", ":1:8"), ("drain: 5s\ndrain: 6s\n", ":2:1: duplicate key"),
                ("drain: [5s]\n", ":1:8: drain: expected a plain value"),
                ("drain:\n", "drain has no value"), ("- drain\n", ":1:1"), ("drain\n", ":1:1"),
                ("drain: {a: b}\n", ":1:8"), ("drain: &a 5s\n", "anchors and aliases"),
                ("drain: !!str 5s\n", "tags"), ("drain: \"5s\n", ":"), ("\tdrain: 5s\n", ":1:1"),
                ("drain: 5s\n---\ndrain: 6s\n", "second document"), ("\0\0\0", ":"),
                ("drain: \"\\0\"\n", "NUL"), ("x" * 2000000, ":")):
            with self.subTest(text=text[:40]):
                with open(self.path("settings.yaml"), "w", encoding="utf-8") as file:
                    file.write(text)
                self.usage("settings.yaml", said, flags=["--config", "settings.yaml"])
                self.usage("settings.yaml", said, flags=["--config", "settings.yaml",
                                                         "--check-config"])
        self.usage("absent.yaml", "No such file", flags=["--config", "absent.yaml"])
        self.usage("Is a directory", flags=["--config", "."])

    # ---- Where to listen ----

    def test_bad_addresses(self):
        for address, said in (
                ("", "ADDRESS:PORT"), ("nonsense", "ADDRESS:PORT"), ("127.0.0.1", "ADDRESS:PORT"),
                ("127.0.0.1:", "ADDRESS:PORT"), ("127.0.0.1:x", "ADDRESS:PORT"),
                ("127.0.0.1:65536", "ADDRESS:PORT"), ("127.0.0.1:-1", "ADDRESS:PORT"),
                ("256.0.0.1:80", "ADDRESS:PORT"), ("::1:80", "ADDRESS:PORT"),
                ("[::1]", "ADDRESS:PORT"), ("http://127.0.0.1:80", "ADDRESS:PORT"),
                ("east.example:80", "numeric address or localhost"),
                ("east.example:80", "localhost")):
            for flag in ("--listen", "--admin-listen"):
                with self.subTest(address=address, flag=flag):
                    self.usage(said, flags=[flag, address])

    def test_taken_port(self):
        for flag in ("--listen", "--admin-listen"):
            self.refused(FAILED, "203.0.113.7:7400 is not one of this machine", flag,
                         words=self.words(flag, "203.0.113.7:7400"), changes=True)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            for flag in ("--listen", "--admin-listen"):
                self.refused(FAILED, address + " is in use", "stop the other process", flag,
                             words=self.words(flag, address), changes=True)

    # ---- The data directory ----

    def test_data_directory_in_use(self):
        daemon = self.start()
        for _ in range(2):
            self.refused(FAILED, "data is in use by process %d" % daemon.process.pid,
                         "data directory of its own")
        self.assertEqual(wire.ask(daemon.url, "GET", "/readyz").status, 200)
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(self.start().stop(), 0)

    def test_log_open_in_another_program(self):
        self.run_once()
        with contextlib.closing(sqlite3.connect(self.path("data", "log.db"))) as shell:
            shell.execute("BEGIN IMMEDIATE")
            self.refused(FAILED, "log.db is in use by another program", "end that one",
                         changes=True)
        self.assertEqual(self.start().stop(), 0)

    def test_data_directory_that_is_none(self):
        with open(self.path("data"), "w", encoding="utf-8") as file:
            file.write("something else")
        self.refused(FAILED, "data", "is no directory", "name another place")
        words = self.words("--data", "data/below")
        self.refused(FAILED, "data", "Not a directory", words=words)
        self.refused(FAILED, "empty", words=self.words("--data", ""))
        self.refused(FAILED, "too long", words=self.words("--data", "x" * 5000))

    def test_data_directory_without_rights(self):
        """Tried as a user who has none, also when the tests are run as root."""
        user = NOBODY_UID if os.geteuid() == 0 else None
        if user:
            os.chmod(self.scratch, 0o755)
            shutil.copy(os.path.join(checks.PROGRAMS, self.program), self.scratch)
        words = self.words()
        words[0] = self.path(self.program) if user else words[0]
        os.mkdir(self.path("data"), 0o500)
        self.refused(FAILED, "data", "Permission denied", "access rights", words=words, user=user)
        os.chmod(self.path("data"), 0)
        self.refused(FAILED, "data", "Permission denied", "access rights", words=words, user=user)
        os.rmdir(self.path("data"))
        os.chmod(self.scratch, 0o555)
        try:
            self.refused(FAILED, "data", "Permission denied", "access rights", words=words,
                         user=user)
        finally:
            os.chmod(self.scratch, 0o700)

    # ---- The log ----

    def run_once(self, *flags, killed=False):
        daemon = self.start(*flags)
        self.fill(daemon.url)
        daemon.process.send_signal(signal.SIGKILL if killed else signal.SIGTERM)
        daemon.wait()

    def fill(self, url):
        """Something that the log keeps."""

    def log(self, name="log.db"):
        return self.path("data", name)

    def overwrite(self, name, offset, data):
        with open(self.log(name), "r+b") as file:
            file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
            file.write(data)

    def damaged(self, *said):
        for _ in range(2):
            self.refused(FAILED, *said)

    def test_deleted_log(self):
        for killed in (False, True):
            self.set_up_again()
            self.run_once(killed=killed)
            for name in ("log.db", "log.db-wal", "log.db-shm"):
                if os.path.exists(self.log(name)):
                    os.remove(self.log(name))
            self.damaged("log.db is missing", "restore", "delete nothing")

    def test_emptied_log(self):
        self.run_once()
        open(self.log(), "wb").close()
        self.damaged("log.db is empty", "restore", "delete nothing")

    def test_log_without_its_identity(self):
        self.run_once()
        os.remove(self.log("IDENTITY"))
        self.damaged("IDENTITY is missing", "restore", "delete nothing")

    def test_damaged_identity(self):
        self.run_once()
        with open(self.log("IDENTITY"), "rb") as file:
            whole = file.read()
        for data in (b"", whole[:-1], b"\0" * len(whole), whole + whole, b"{}",
                     bytes([whole[0] ^ 1]) + whole[1:], whole[:-3] + b"\xff" + whole[-2:]):
            with self.subTest(data=data):
                with open(self.log("IDENTITY"), "wb") as file:
                    file.write(data)
                self.damaged("IDENTITY is damaged", "restore", "delete nothing")

    def test_damaged_log(self):
        self.run_once()
        with open(self.log(), "rb") as file:
            whole = file.read()
        for offset, data in ((0, b"This is no database"), (0, b"\0" * 100),
                             (20, b"\xff" * 60), (100, b"\xff" * 200),
                             (4096, b"\xff" * 4096), (0, os.urandom(len(whole)))):
            with self.subTest(offset=offset, data=data[:20]):
                self.overwrite("log.db", 0, whole)
                self.overwrite("log.db", offset, data)
                self.damaged("log.db", "restore", "delete nothing")
        for size in (1, 100, 4096, len(whole) // 2):
            with self.subTest(size=size):
                self.overwrite("log.db", 0, whole)
                os.truncate(self.log(), size)
                self.damaged("log.db", "restore", "delete nothing")

    def test_another_database_in_its_place(self):
        self.run_once()
        shutil.copy(self.path("bank.db"), self.log())
        self.damaged("log.db", "restore", "delete nothing")

    def test_log_that_was_set_back(self):
        self.run_once()
        shutil.copytree(self.path("data"), self.path("old"))
        self.run_once()
        for name in ("log.db", "log.db-wal", "log.db-shm"):
            if os.path.exists(self.log(name)):
                os.remove(self.log(name))
            if os.path.exists(self.path("old", name)):
                shutil.copy(self.path("old", name), self.log(name))
        self.damaged("log.db was set back to an older copy", "put back the newest", "delete nothing")

    def test_journal_that_was_deleted(self):
        self.run_once()
        self.run_once(killed=True)
        self.assertGreater(os.path.getsize(self.log("log.db-wal")), 0)
        os.remove(self.log("log.db-wal"))
        self.damaged("log.db", "put", "delete nothing")

    def test_log_of_another_directory(self):
        self.run_once()
        os.rename(self.path("data"), self.path("other"))
        self.set_up_again()
        self.run_once()
        shutil.copy(self.path("other", "log.db"), self.log())
        self.damaged("two different logs", "put back the files that belong together")

    def test_log_of_another_role(self):
        other, mine = ["assent-agent", "sqlite:bank.db", "--name", "x"], ["assentd"]
        if self.program == "assent-agent":
            other, mine = mine, other
        role = {"assentd": "coordinator", "assent-agent": "participant"}
        daemon = daemons.Daemon([os.path.join(checks.PROGRAMS, other[0]), *other[1:], "--data",
                                 "data", "--listen", "127.0.0.1:0"], self.scratch)
        self.assertEqual(daemon.stop(), 0)
        self.refused(FAILED, "the data directory of a %s, and this is a %s"
                     % (role[other[0]], role[mine[0]]), "a data directory of its own")

    def test_a_good_start_after_all(self):
        self.run_once()
        self.run_once(killed=True)
        self.run_once()


class Coordinator(StartUp):
    program = "assentd"

    def fill(self, url):
        answer = wire.ask(url, "PUT", "/v1/participants/east", {"url": "http://127.0.0.1:9"})
        self.assertIn(answer.status, (200, 201))

    def test_log_that_a_participant_knows_to_be_set_back(self):
        daemon = self.start()
        ready = wire.ask(daemon.url, "GET", "/readyz?verbose").json()
        self.assertIsNone(wire.ask(daemon.url, "POST", "/v1/decisions", {
            "participant_id": checks.NOBODY, "gtids": [checks.NOBODY], "coordinator": {
                "id": ready["coordinator_id"], "generation": ready["generation"] + 2,
                "nonce": checks.NOBODY}}))
        self.assertEqual(daemon.wait(), HALTED)
        for _ in range(4):  # the last would be of a generation that no participant knows yet
            self.refused(FAILED, "SET-BACK", "set back to an old copy", "remove that file")
        os.remove(self.log("SET-BACK"))
        self.run_once()

    def test_bad_participants(self):
        for value in ("", "east", "=http://h:1", "east=", "east=nonsense", "-x=http://h:1",
                      "east=ftp://h:1", "x" * 65 + "=http://h:1", "east=http://u:p@h:1"):
            with self.subTest(value=value):
                self.usage("--participant", "write NAME=URL", flags=["--participant", value])

    def test_bad_advertised_urls(self):
        for value in ("nonsense", "ftp://h", "http://", "http://" + "h" * 5000):
            with self.subTest(value=value[:40]):
                self.usage("--advertise", "such as http://host:7400", flags=["--advertise", value])


class Agent(StartUp):
    program = "assent-agent"
    resource = ["sqlite:bank.db", "--name", "east"]

    def start_with(self, *words):
        return [os.path.join(checks.PROGRAMS, self.program), *words, "--data", "data", "--listen",
                "127.0.0.1:0"]

    def test_without_resource_or_name(self):
        self.refused(USAGE, "RESOURCE is missing", "sqlite:accounts.db",
                     words=self.start_with("--name", "east"))
        self.refused(USAGE, "--name is missing", "1 to 64 letters",
                     words=self.start_with("sqlite:bank.db"))
        for name in ("", "-x", "a/b", "x" * 65, "caf\u00e9", "."):
            self.refused(USAGE, "--name", "1 to 64 letters",
                         words=self.start_with("sqlite:bank.db", "--name=" + name))

    def status(self, address, method, path, body=None):
        """0: nobody is there."""
        host, port = address.split(":")
        with contextlib.closing(http.client.HTTPConnection(host, int(port), BOUND_S)) as call:
            try:
                call.request(method, path, body)
                return call.getresponse().status
            except ConnectionError:
                return 0

    def test_nothing_is_answered_before_the_log_is_read(self):
        first = self.start()
        address = first.url.split("://")[1]
        first.kill()
        words = self.words("--failpoints", "agent.start.scan=hang")
        words[words.index("127.0.0.1:0")] = address
        reading = subprocess.Popen(words, cwd=self.scratch, stdin=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        self.addCleanup(reading.wait)
        self.addCleanup(reading.kill)
        until = time.monotonic() + BOUND_S
        while self.status(address, "GET", "/livez") != 200:
            self.assertLess(time.monotonic(), until)
        message = {"coordinator": {"id": checks.NOBODY, "generation": 1, "nonce": checks.NOBODY,
                                   "url": "http://127.0.0.1:1"},
                   "messages": [{"op": "commit", "gtid": checks.NOBODY}]}
        for call in (("GET", "/readyz"), ("GET", "/v1/branches"),
                     ("POST", "/v1/messages", json.dumps(message))):
            with self.subTest(call):
                self.assertEqual(self.status(address, *call), 503)

    def database(self, url, *said, **more):
        return self.refused(FAILED, *said, words=self.start_with(url, "--name", "east"),
                            changes=True, **more)

    def test_resources_that_are_none(self):
        self.database("nonsense", "sqlite:PATH")
        self.database("oracle://here", "sqlite:PATH")
        self.database("", "sqlite:PATH")
        self.database("postgresql://127.0.0.1:1/bank", "PostgreSQL", "127.0.0.1")
        self.database("mariadb://127.0.0.1:1/bank", "MariaDB", "127.0.0.1")

    def test_databases_that_are_none(self):
        self.database("sqlite:", "needs a path")
        self.database("sqlite:absent.db", "there is no database absent.db", "create it first")
        self.assertFalse(os.path.exists(self.path("absent.db")))
        self.database("sqlite:absent/bank.db", "absent/bank.db")
        self.database("sqlite:bank.db/x", "bank.db/x")
        self.database("sqlite:.", "is not a file")
        for data in (b"This is a text file, and a long one at that, for all that it says.\n" * 100,
                     b"\0" * 5000, os.urandom(5000)):
            with open(self.path("text.db"), "wb") as file:
                file.write(data)
            self.database("sqlite:text.db", "text.db is not an SQLite database",
                          "nothing was changed")
            with open(self.path("text.db"), "rb") as file:
                self.assertEqual(file.read(), data)

    def test_damaged_database(self):
        with contextlib.closing(sqlite3.connect(self.path("bank.db"))) as bank:
            bank.executemany("INSERT INTO accounts VALUES (?, 1)", [(i,) for i in range(5000)])
            bank.commit()
        with open(self.path("bank.db"), "r+b") as file:
            file.seek(100)
            file.write(b"\xff" * 3900)
        self.database("sqlite:bank.db", "bank.db is damaged", "restore it from a backup")

    def test_locked_database(self):
        with contextlib.closing(sqlite3.connect(self.path("bank.db"))) as bank:
            bank.execute("PRAGMA journal_mode=DELETE")
            bank.execute("BEGIN EXCLUSIVE")
            self.database("sqlite:bank.db", "bank.db is in use by another program",
                          "start again")

    def test_database_without_rights(self):
        user = NOBODY_UID if os.geteuid() == 0 else None
        if user:
            shutil.copy(os.path.join(checks.PROGRAMS, self.program), self.scratch)
            os.mkdir(self.path("data"))
            os.chown(self.path("data"), user, user)
            os.mkdir(self.path("banks"))
            shutil.copy(self.path("bank.db"), self.path("banks"))
        else:
            os.mkdir(self.path("banks"))
            shutil.copy(self.path("bank.db"), self.path("banks"))
        os.chmod(self.scratch, 0o755)
        words = self.start_with("sqlite:banks/bank.db", "--name", "east")
        words[0] = self.path(self.program) if user else words[0]
        os.chmod(self.path("banks", "bank.db"), 0o444)
        os.chmod(self.path("banks"), 0o555)
        try:
            self.refused(FAILED, "banks/bank.db is not readable and writable", "owner or mode",
                         words=words, user=user, changes=True)
            os.chmod(self.path("banks", "bank.db"), 0o666)
            self.refused(FAILED, "the directory of banks/bank.db is not writable", "owner or mode",
                         words=words, user=user, changes=True)
        finally:
            os.chmod(self.path("banks"), 0o755)

    def test_database_of_another_participant(self):
        self.run_once()
        self.refused(FAILED, "bank.db belongs to participant", "--data", changes=True,
                     words=self.words("--data", "other"))

    def test_participant_log_that_was_set_back_whole(self):
        """The directory agrees with itself; the database knows better."""
        self.run_once()
        shutil.copytree(self.path("data"), self.path("old"))
        self.run_once()
        os.rename(self.path("data"), self.path("newest"))
        os.rename(self.path("old"), self.path("data"))
        self.refused(FAILED, "set back to an old copy", "Put the newest data directory in its place",
                     changes=True)
        for _ in range(3):  # its generation would be new to the database
            self.refused(FAILED, "SET-BACK", "has seen its start 2", "the newest copy")
        shutil.rmtree(self.path("data"))
        os.rename(self.path("newest"), self.path("data"))
        self.run_once()

    def test_copy_in_place_of_a_damaged_log(self):
        """The start that noticed the damage is none that the copy had to know of."""
        daemon = self.start()
        voted = wire.ask(daemon.url, "POST", "/v1/messages", {
            "coordinator": {"id": checks.NOBODY, "generation": 1, "nonce": checks.NOBODY,
                            "url": "http://127.0.0.1:9", "forgotten_below": NOTHING_FORGOTTEN},
            "messages": [{"op": "prepare", "gtid": checks.NOBODY, "began_us": 1, "timeout_ms": 5000,
                          "statements": [{"sql": "INSERT INTO accounts VALUES (1, 1)"}]}]})
        self.assertIn(b'"vote":"yes"', voted.body)
        self.assertEqual(daemon.stop(), 0)
        shutil.copytree(self.path("data"), self.path("copy"))
        with contextlib.closing(sqlite3.connect(self.log())) as log:
            log.execute("UPDATE record SET data = x'00' || substr(data, 2)")
            log.commit()
        self.refused(FAILED, "log.db is damaged (the checksum of record", changes=True)
        shutil.rmtree(self.path("data"))
        os.rename(self.path("copy"), self.path("data"))
        self.run_once()


del StartUp  # not to be run by itself
if __name__ == "__main__":
    checks.main(sys.argv)
