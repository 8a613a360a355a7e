"""Real daemons on free ports, in a directory that goes away, for tests of the command line."""

import http.server
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import urllib.request

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


class Front:
    """Hands requests on to the daemon at @url; calls @hold(method, path, body) before each."""

    def __init__(self, url, hold):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                hold(self.command, self.path, body)
                headers = {name: value for name, value in self.headers.items()
                           if name.lower() not in ("host", "connection", "content-length")}
                request = urllib.request.Request(url + self.path, body or None, headers,
                                                 method=self.command)
                try:
                    answer = urllib.request.urlopen(request, timeout=STOP_SECONDS)
                except urllib.error.HTTPError as error:
                    answer = error
                data = answer.read()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = forward

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


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

    def start_agent(self, name, *flags):
        self.daemons[name] = Daemon(
            [os.path.join(self.programs, "assent-agent"), "sqlite:" + name + ".db", "--name", name,
             "--data", name, "--listen", self.address(name), *flags], self.directory)

    def start_coordinator(self, *flags, east=None):
        """@east: where it finds that agent, if not directly."""
        self.daemons["coordinator"] = Daemon(
            [os.path.join(self.programs, "assentd"), "--data", "coordinator", "--listen",
             self.address("coordinator"), "--participant",
             "east=" + (east or self.daemons["east"].url),
             "--participant", "west=" + self.daemons["west"].url, *flags], self.directory)

    def ask(self, name, method, path, body=None):
        request = urllib.request.Request(self.daemons[name].url + path, method=method,
                                         data=json.dumps(body).encode() if body else None,
                                         headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=STOP_SECONDS) as answer:
            return json.load(answer)

    def assent(self, *words, text=""):
        environment = dict(os.environ, ASSENT_URL=self.daemons["coordinator"].url)
        return subprocess.run([os.path.join(self.programs, "assent"), *words], input=text,
                              env=environment, cwd=self.directory, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
