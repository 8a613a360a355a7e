"""What the tests' own database servers have in common."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time

START_SECONDS = 60


def ordinary(words):
    """The servers refuse to be run by root."""
    if os.geteuid() != 0:
        return list(words)
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *words]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """One in a scratch directory, as an ordinary user, ended by its process id; listens on a port of
    its own. A kind of server brings command() and answers()."""

    def __init__(self, prefix, settings):
        self.directory = tempfile.mkdtemp(prefix=prefix)
        self.data = os.path.join(self.directory, "data")
        self.port = free_port()
        self.process = None
        self.settings = dict(settings)
        os.chmod(self.directory, 0o711)
        self.give(self.directory)

    def give(self, path):
        """To the user that runs the server."""
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(path, nobody.pw_uid, nobody.pw_gid)

    def run(self, program, *arguments):
        done = subprocess.run(ordinary([program, *arguments]), cwd=self.directory,
                              stdin=subprocess.DEVNULL, timeout=120, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, encoding="utf-8", errors="replace")
        if done.returncode != 0:
            raise AssertionError("%s: %s" % (program, done.stdout))

    def launch(self):
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self.process = subprocess.Popen(ordinary(self.command()), cwd=self.directory, stdout=log,
                                            stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)

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
        self.process.send_signal(self.stop_signal)
        self.process.wait(60)

    def kill(self):
        self.process.kill()
        self.process.wait(60)

    def restart(self):
        self.stop()
        self.start()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.close_signal)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
