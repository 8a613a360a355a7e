"""The layers of tests that a fault is shown to, the fastest first."""

import glob
import os
import re
import signal
import subprocess
import sys


class Layer:
    """@tests: a regular expression for names of ctest, or None where @command, which exits with 0 for
    an objection, says it instead, or where the fault itself names a case of the scripts of @server.
    @files: whose faults it is always shown."""

    def __init__(self, name, what, files, limit_s, tests=None, command=None, server=None):
        self.name, self.what, self.files, self.limit_s = name, what, tuple(files), limit_s
        self.tests, self.command, self.server = tests, command, server

    def is_for(self, mutant):
        return self.name == mutant.by or mutant.file.startswith(self.files)


CORE = ["coordinator/coord_", "participant/part_"]
AGENT = ["participant/" + name for name in
         ("coordinators", "endpoints", "inquiry", "messages", "recovery", "retention")]

LAYERS = [
    Layer("model", "every interleaving of both state machines (`./run model`)", CORE, 300,
          command=["tests/model_check", "--expect-violation"]),
    Layer("fuzz", "the kept inputs of the fuzzers, once more: events, records, recoveries, payloads",
          CORE + ["wal/record"], 120,
          tests=r"^fuzz\.(coord_fsm|part_fsm|record|recovery|payload)$"),
    Layer("unit.core", "unit tests of the state machines, their records and recovery", CORE, 120,
          tests=r"^unit\.(coordinator\.|participant\.part_)"),
    Layer("unit.wal", "unit tests of the log", ["wal/"], 240,
          tests=r"^unit\.wal\.(log|record|store_memory|store_sqlite|store_sqlite_damage|store_sqlite_open)$"),
    Layer("unit.sqlite", "unit tests of the SQLite resource", ["participant/sqlite_"], 600,
          tests=r"^unit\.participant\.sqlite_(commit|keys|locks|lockset|resource|stmts)$"),
    Layer("sqlite.faults", "the SQLite resource on a disk that fails at each operation in turn", [], 600,
          tests=r"^unit\.participant\.sqlite_faults$"),
    Layer("sim", "both daemons whole in a world of chance (`./run sim`)",
          CORE + AGENT + ["coordinator/", "wal/log"], 600, tests=r"^sim\.short$"),
    Layer("unit.agent", "a whole agent by its messages", AGENT, 240,
          tests=r"^unit\.participant\.agent$"),
    Layer("http", "a whole coordinator by its HTTP, with scripted participants",
          ["coordinator/driver", "coordinator/endpoints", "coordinator/inquiry", "coordinator/link", "coordinator/recovery"],
          600, tests=r"^http\.coordinator"),
    Layer("messages", "whole daemons over raw sockets: bad messages, bad starts", [], 600,
          tests=r"^http\.(bad_messages|start_up)$"),
    Layer("budget", "messages and forced writes counted", [], 120, tests=r"^crash\.budget$"),
    Layer("load", "transfers by many clients at once, and the books afterwards", [], 600,
          tests=r"^crash\.load$"),
    Layer("crash.random", "daemons killed at any time under load", [], 600,
          tests=r"^crash\.random$"),
    Layer("crash", "daemons killed at every failpoint, and again while they recover", [], 1200,
          tests=r"^crash\.(coordinator|agent)$"),
    Layer("power", "disks that forget what was not forced", [], 1200,
          tests=r"^power\.(coord|agent)$"),
    Layer("disk", "disks that fail", [], 1200, tests=r"^disk\.(coord|agent)$"),
    Layer("postgresql", "an agent at a PostgreSQL server, the one test that is named after it", [], 300,
          server="postgres"),
    Layer("mariadb", "an agent at a MariaDB server, the one test that is named after it", [], 300,
          server="mariadb"),
]


def by_name(name):
    for layer in LAYERS:
        if layer.name == name:
            return layer
    raise KeyError(name)


def run_bounded(command, limit_s, cwd):
    """(status, output); status None: it did not end in time."""
    child = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
                             start_new_session=True)
    try:
        said, _ = child.communicate(timeout=limit_s)
        return child.returncode, said
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        said, _ = child.communicate()
        return None, said


def targets(build, layer):
    """What has to be built for it. (ctest itself does not tell the command of a test that has not been
    built.)"""
    if layer.command:
        return [layer.command[0]]
    if layer.server:
        return ["programs", "tests/pg_tag"]
    found = set()
    for path in glob.glob(os.path.join(build, "**", "CTestTestfile.cmake"), recursive=True):
        with open(path, encoding="utf-8") as file:
            for name, program in re.findall(r'^add_test\(\[=\[(.+?)\]=\] "(.+?)"', file.read(), re.M):
                if re.search(layer.tests, name):
                    ours = program.startswith(build + os.sep)
                    found.add(os.path.relpath(program, build) if ours else "programs")
    return sorted(found)


def first_words(said):
    """What it objected to, in a few words that are the same each time."""
    for pattern in (r"VIOLATION: (.*)", r"(assertion failed.*)", r"sim: FAILED: (?:seed \d+: )?(.*)"):
        found = re.search(pattern, said)
        if found:
            words = re.sub(r"(\S*/)?(\w+\.c):\d+", r"\2", found.group(1)).strip()
            return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "GTID", words)
    failed = re.findall(r"^\s*\d+ - (\S+) \((\w+)", said, re.M)
    if not failed:
        return "ended by a signal"
    name, how = failed[0]
    # Tests that ran beside each other have their output one after the other.
    own = re.search(r" Test +#\d+: " + re.escape(name) + r" .*?(?=^ *\d+/\d+ Test|\Z)", said,
                    re.M | re.S)
    case = re.search(r"\[  FAILED  \] (test_\w+)", own.group() if own else "")
    return name + (f": {case.group(1)}" if case else "" if how == "Failed" else f": {how}")


def ask_case(build, layer, case):
    """"work Work.test_of_something", of the layer's server."""
    script, name = case.split()
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "servers",
                        f"test_{layer.server}_{script}.py")
    words = [sys.executable, path, os.path.join(build, "bin", "assent-agent")]
    words += [os.path.join(build, "tests", "pg_tag")] if layer.server == "postgres" else []
    status, said = run_bounded([*words, name], layer.limit_s, build)
    if status == 77 or "Ran 0 tests" in said:
        return f"cannot be asked: {said.strip()[-200:]}"
    return None if status == 0 else name.split(".")[-1]


def objection(build, layer, case=None):
    """None: it has none. The build must be up to date."""
    if layer.server:
        return ask_case(build, layer, case)
    if layer.command:
        words = [os.path.join(build, layer.command[0]), *layer.command[1:]]
        status, said = run_bounded(words, layer.limit_s, build)
        if status is not None and status > 0:
            return None
    else:
        status, said = run_bounded(["ctest", "--test-dir", build, "-R", layer.tests, "-j4",
                                    "--stop-on-failure", "--output-on-failure",
                                    "--no-tests=error"], layer.limit_s, build)
        if status == 0:
            return None
    return "does not end" if status is None else first_words(said)
