"""Processes for measurements of scale: a coordinator, participants that keep nothing, load."""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")


def wait_for(what, seconds=120):
    """Until what() is true; a loaded machine is no failure."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {what.__doc__ or what}")
        time.sleep(0.01)


class Process:
    """One of our programs, with what the kernel says of it."""

    def __init__(self, args, log_path=None):
        self.log_path = log_path
        log = open(log_path, "ab") if log_path else subprocess.DEVNULL
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=log, text=True)

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) * 1024

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """SIGTERM, until it has ended by itself."""
        self.process.terminate()
        assert self.process.wait() == 0

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class World:
    """A scratch directory and what runs in it; leaving it ends all of it."""

    def __init__(self, bin_dir, tests_dir):
        self.bin_dir = bin_dir
        self.tests_dir = tests_dir
        self.directory = tempfile.mkdtemp(prefix="assent-scale-")
        self.processes = []
        self.participants = {}

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        for process in self.processes:
            process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.directory, name)

    def start(self, args, name=None):
        process = Process(args, self.path(name + ".log") if name else None)
        self.processes.append(process)
        return process

    def peers(self, names, delay_ms=0, rate=0):
        """Participants of these names, all in one process."""
        process = self.start([f"{self.tests_dir}/scale_peer", str(len(names)), str(delay_ms),
                              str(rate)])
        for name in names:
            self.participants[name] = process.process.stdout.readline().strip()
        return process

    def ready(self, process, name):
        """When it says that it is ready; its address."""
        said = None

        def is_ready():
            nonlocal said
            with open(self.path(name + ".log"), encoding="utf-8") as log:
                said = re.search(r"evt=daemon.ready.* url=(\S+)", log.read())
            if process.process.poll() is not None:
                raise ChildProcessError(open(self.path(name + ".log"), encoding="utf-8").read())
            return said is not None

        wait_for(is_ready)
        return said[1]

    def coordinator(self, *flags, name="coordinator"):
        args = [f"{self.bin_dir}/assentd", "--listen", "127.0.0.1:0", "--data", self.path(name)]
        for participant, url in self.participants.items():
            args += ["--participant", f"{participant}={url}"]
        if os.path.exists(self.path(name + ".log")):
            os.remove(self.path(name + ".log"))
        process = self.start(args + list(flags), name)
        process.url = self.ready(process, name)
        return process

    def load(self, coordinator, seconds, groups, connections=64, rate=0, timeout_ms=10000,
             wait=True):
        """Transactions over each of these groups of participants in turn."""
        port = coordinator.url.rsplit(":", 1)[1]
        groups = [",".join(group) for group in groups]
        process = subprocess.Popen(
            [f"{self.tests_dir}/scale_load", port, str(seconds), str(connections), str(rate),
             str(timeout_ms)] + ([] if wait else ["async"]) + groups,
            stdout=subprocess.PIPE, text=True)
        return process

    @staticmethod
    def result(load):
        said, _ = load.communicate()
        return json.loads(said)


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def in_flight(coordinator):
    return get(coordinator.url + "/readyz?verbose")["in_flight"]
