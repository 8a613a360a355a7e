"""Measure Assent side by side with the yardsticks, and write docs/performance.md from it.

usage: bench.py ROOT run [--quick] [--rounds N] [--seconds N]   --quick: one short round, no page
       bench.py ROOT write | check

What was measured last stands in results.json beside this file. `write` makes the page from it,
`check` ends with 1 where it is another one."""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [HERE, os.path.join(HERE, "..", "servers")]
import page  # noqa: E402  (by the path above)
import postgres  # noqa: E402

ACCOUNTS = 10000
WARM_UP_MS = 1000
RUN_SECONDS = 300  # beyond the measured time a run is given up
# What is run, and with how many clients; those after "|" not with --quick.
PLAN = [
    ("limit-pg", "1 64 | 4 16"),
    ("transfer postgresql", "1 64 | 4 16 256"),
    ("sqlite-attach delete", "1"),
    ("sqlite-attach wal", "1"),
    ("transfer sqlite", "1 16 64 | 4 256"),
    ("transfer sqlite 100/s", "64"),
    ("transfer sqlite 100/s decided", "64"),
    ("transfer sqlite 12000/s overload", "| 3000"),
    ("noop", "256 | 1 16 64 1024 4096"),
    ("hot", "1 64"),
    ("wide", "| 16"),
    ("read", "| 64"),
]


class Failed(Exception):
    """The words go to whoever asked."""


def clients_of(text, quick):
    first, _, rest = text.partition("|")
    return sorted(int(word) for word in (first if quick else first + rest).split())


class Bench:
    def __init__(self, root, seconds, warm_up_ms):
        self.seconds = seconds
        self.warm_up_ms = warm_up_ms
        self.programs = os.path.join(root, "build", "bin")
        self.yardsticks = os.path.join(root, "build", "tests")
        self.directory = tempfile.mkdtemp(prefix="assent-bench-run-")
        self.server = postgres.Server(max_prepared=1000, settings={
            "max_connections": 400, "shared_buffers": "128MB", "max_wal_size": "4GB"})
        for name in ("east", "west"):
            self.server.sql("CREATE DATABASE %s" % name)

    def close(self):
        self.server.close()
        shutil.rmtree(self.directory)

    def times(self):
        return [str(self.warm_up_ms), str(self.seconds * 1000)]

    def run(self, words):
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
                              timeout=RUN_SECONDS + self.seconds, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Failed("%s\nends with %d: %s" % (" ".join(words), done.returncode, done.stderr))
        return json.loads(done.stdout)

    def assent(self, workload, clients, *words):
        return self.run([os.path.join(self.programs, "assent"), "bench", workload, "--clients",
                         str(clients), "--seconds", str(self.seconds), "--warm-up",
                         "%dms" % self.warm_up_ms, "-o", "json", *words])

    def limit_pg(self, clients):
        return self.run([os.path.join(self.yardsticks, "limit_pg"), self.server.url("east"),
                         self.server.url("west"), str(clients), str(ACCOUNTS), *self.times(),
                         os.path.join(self.directory, "decisions")])

    def sqlite_attach(self, mode):
        directory = tempfile.mkdtemp(dir=self.directory)
        try:
            return self.run([os.path.join(self.yardsticks, "sqlite_attach"), mode, directory,
                             str(ACCOUNTS), *self.times()])
        finally:
            shutil.rmtree(directory)

    def measure(self, what, clients):
        many = [word for flag in ("--connections-max", "20000")
                for word in ("--coordinator-flag", flag)] if clients > 900 else []
        if what == "limit-pg":
            return self.limit_pg(clients)
        if what.startswith("sqlite-attach "):
            return self.sqlite_attach(what.split()[1])
        if what == "transfer postgresql":
            return self.assent("transfer", clients, "--resource", self.server.url("east"), "--resource",
                               self.server.url("west"), "--pid",
                               "server=%d" % self.server.process.pid)
        workload, *rest = what.split()
        if "overload" in rest:
            many += ["--coordinator-flag", "--transactions-max", "--coordinator-flag", "500"]
        rates = [word[:-2] for word in rest if word.endswith("/s")]
        return self.assent(workload, clients, *(["--ack", "decided"] if "decided" in rest else []),
                           *(word for rate in rates for word in ("--rate", rate)), *many)


# ---- The machine, as far as it matters ----

def first_line(path, key):
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith(key):
                return line.split(":", 1)[1].strip()
    return "unknown"


def disk_of(path):
    """The kind of file system, and of disk below it."""
    number = os.stat(path).st_dev
    device = "/sys/dev/block/%d:%d" % (os.major(number), os.minor(number))
    kind = "disk"
    for place in (device, os.path.join(device, "..")):
        rotates = os.path.join(place, "queue", "rotational")
        if os.path.exists(rotates):
            with open(rotates, encoding="utf-8") as file:
                kind = "rotating disk" if file.read().strip() == "1" else "solid-state disk"
            name = os.path.basename(os.path.realpath(place))
            kind = "virtual disk" if name.startswith("vd") else kind
            break
    done = subprocess.run(["stat", "-f", "-c", "%T", path], stdout=subprocess.PIPE, encoding="utf-8")
    return "%s on a %s" % (done.stdout.strip() or "a file system", kind)


def machine(path):
    memory = int(first_line("/proc/meminfo", "MemTotal").split()[0]) / 1024 / 1024
    release = os.uname().release.split("-")[0]
    return "%s, %d processors, %.0f GiB, Linux %s, %s" % (
        first_line("/proc/cpuinfo", "model name"), os.cpu_count(), memory, release, disk_of(path))


# ---- Words ----

def paths(root):
    return (os.path.join(HERE, "results.json"), os.path.join(root, "docs", "performance.md"),
            os.path.join(root, "docs", "performance.svg"))


def run(root, words):
    parser = argparse.ArgumentParser(prog="./run bench")
    parser.add_argument("--quick", action="store_true", help="one short round, and no page")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each (5)")
    parser.add_argument("--seconds", type=int, default=4, help="of a run (4)")
    chosen = parser.parse_args(words)
    if chosen.quick:
        chosen.rounds, chosen.seconds = 1, 1
    rows = [{"what": what, "clients": clients, "runs": []}
            for what, text in PLAN for clients in clients_of(text, chosen.quick)]
    bench = Bench(root, chosen.seconds, WARM_UP_MS // (4 if chosen.quick else 1))
    try:
        where = machine(bench.directory)
        for number in range(chosen.rounds):
            # There and back, so that what drifts falls on all alike.
            for row in rows if number % 2 == 0 else reversed(rows):
                said = bench.measure(row["what"], row["clients"])
                row["runs"].append(said)
                print("%d/%d %-24s %5d clients %10.0f tx/s  p50 %8.2f ms  p99 %8.2f ms" % (
                    number + 1, chosen.rounds, row["what"], row["clients"], said["committed_per_s"],
                    said["latency_ms"]["p50"], said["latency_ms"]["p99"]), file=sys.stderr, flush=True)
    finally:
        bench.close()
    results = {"date": datetime.date.today().isoformat(), "rounds": chosen.rounds,
               "seconds": chosen.seconds, "accounts": ACCOUNTS, "machine": where, "rows": rows}
    if not chosen.quick:
        with open(paths(root)[0], "w", encoding="utf-8") as file:
            json.dump(slim(results), file, indent=1)
            file.write("\n")
        write(root)
    for what, target, value, met, unit in page.targets(results):
        print("%-13s %-76s %-14s %s" % (page.verdict(value, met), what, target,
                                        page.shown(value, unit)))


def slim(results):
    """Without what no page shows: process ids, names of participants."""
    kept = ("committed_per_s", "latency_ms", "aborted", "late", "cpu_us", "coordinator")
    rows = []
    for row in results["rows"]:
        runs = [{**{key: said[key] for key in kept if key in said},
                 **({"processes": [{"name": p["name"], "cpu_us": p["cpu_us"]}
                                   for p in said["processes"]]} if "processes" in said else {})}
                for said in row["runs"]]
        rows.append({**row, "runs": runs})
    return {**results, "rows": rows}


def render(root):
    with open(paths(root)[0], encoding="utf-8") as file:
        results = json.load(file)
    return page.page(results), page.picture(results)


def write(root):
    for path, text in zip(paths(root)[1:], render(root)):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def check(root):
    if not os.path.exists(paths(root)[0]):
        return
    for path, text in zip(paths(root)[1:], render(root)):
        with open(path, encoding="utf-8") as file:
            if file.read() != text:
                raise Failed("%s is not what results.json says: ./run bench --write" % path)


def main():
    root, word = os.path.abspath(sys.argv[1]), sys.argv[2]
    if sys.argv[3:] == ["--write"]:
        word = "write"
    try:
        if word == "run":
            run(root, sys.argv[3:])
        else:
            {"write": write, "check": check}[word](root)
    except (Failed, subprocess.TimeoutExpired) as failure:
        print("./run bench: %s" % failure, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
