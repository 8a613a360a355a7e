"""Real daemons for tests of the documentation: on free ports, in a scratch directory, ended by the
test that started them."""

import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request

READY = re.compile(rb"evt=daemon\.ready (?:\S+ )*?url=(\S+)")
BOUND_S = 30


class Daemon:
    """Started and ready when the constructor returns; `stop` may be called twice."""

    def __init__(self, folder, name, *words):
        self.log_path = os.path.join(folder, name + ".log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        self.url = self.wait_ready()

    def log(self):
        with open(self.log_path, "rb") as log:
            return log.read()

    def wait_ready(self):
        end = time.monotonic() + BOUND_S
        while time.monotonic() < end:
            found = READY.search(self.log())
            if found:
                return found.group(1).decode()
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        self.stop()
        raise AssertionError("not ready: " + self.log().decode(errors="replace"))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(BOUND_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


def run(*words):
    """A command to its end."""
    return subprocess.run(words, timeout=2 * BOUND_S, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")


def ask(method, url, body=None, headers=None):
    """(status, headers, body) of one request; the body is bytes."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=BOUND_S) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()
