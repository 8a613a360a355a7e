"""The tables of docs/operations.md, from what the programs say of themselves.

usage: reference.py check|write OPERATIONS_MD BIN

`check` says what differs and ends with 1; `write` puts it right. Each table stands between
<!-- begin KIND PROGRAM --> and <!-- end KIND PROGRAM -->; KIND is flags, metrics or failpoints."""

import difflib
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request

BOUND_S = 30
SECTION = re.compile(r"(<!-- begin (\w+) ([\w-]+) -->\n)(.*?)(<!-- end \2 \3 -->)", re.S)


def say(binary, *words):
    return subprocess.run([binary, *words], check=True, timeout=BOUND_S, stdout=subprocess.PIPE,
                          encoding="utf-8").stdout


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def flags(binary):
    """A row for each flag in --help."""
    rows = []
    for line in say(binary, "--help").splitlines():
        flag = re.match(r"  (-(?:\S+, -)?[^ ,]+(?: [A-Z=]+)?) +(.*)", line)
        if flag:
            rows.append([flag.group(1), flag.group(2)])
        elif re.match(r" {20}", line) and rows:
            rows[-1][1] += " " + line.strip()
    cells = []
    for name, words in rows:
        default = re.search(r" \(default ([^)]+)\)$", words)
        words = words[:default.start()] if default else words
        cells.append([f"`{name}`", f"`{default.group(1)}`" if default else "", words])
    return table(["flag", "default", "meaning"], cells)


def failpoints(binary):
    names = say(binary, "--list-failpoints").split()
    return "```text\n" + "\n".join(names) + "\n```\n"


def started(folder, *words):
    """A daemon that is ready, and its URL."""
    path = os.path.join(folder, "log")
    with open(path, "wb") as log:
        daemon = subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL, stderr=log)
    end = time.monotonic() + BOUND_S
    while daemon.poll() is None and time.monotonic() < end:
        with open(path, encoding="utf-8") as log:
            ready = re.search(r"evt=daemon\.ready (?:\S+ )*?url=(\S+)", log.read())
        if ready:
            return daemon, ready.group(1)
        time.sleep(0.01)
    daemon.kill()
    daemon.wait()
    raise SystemExit(f"{words[0]} does not start")


def metrics(binary):
    """A row for each metric of a daemon that has just started."""
    with tempfile.TemporaryDirectory() as folder:
        sqlite3.connect(os.path.join(folder, "bank.db")).execute("CREATE TABLE t(a)").connection.close()
        agent = os.path.basename(binary) == "assent-agent"
        words = ["sqlite:bank.db", "--name", "bank"] if agent else []
        daemon, url = started(folder, binary, *words, "--data", "data", "--listen", "127.0.0.1:0")
        try:
            with urllib.request.urlopen(url + "/metrics", timeout=BOUND_S) as answer:
                text = answer.read().decode()
        finally:
            daemon.terminate()
            daemon.wait(BOUND_S)
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    labels = {}
    for name, inner in re.findall(r"^(\w+?)(?:_bucket)?\{(.*)\} ", text, re.M):
        labels[name] = re.findall(r'(\w+)="', inner)[0]
    rows = []
    for name, words in re.findall(r"^# HELP (\S+) (.*)$", text, re.M):
        label = labels.get(name, "")
        rows.append([f"`{name}`" + (f" by `{label}`" if label not in ("", "le") else ""),
                     types[name], words])
    return table(["metric", "type", "meaning"], rows)


def main(verb, path, folder):
    kinds = {"flags": flags, "metrics": metrics, "failpoints": failpoints}
    with open(path, encoding="utf-8") as file:
        old = file.read()
    new = SECTION.sub(lambda m: m.group(1) + kinds[m.group(2)](os.path.join(folder, m.group(3)))
                      + m.group(5), old)
    if verb == "write":
        with open(path, "w", encoding="utf-8") as file:
            file.write(new)
    elif old != new:
        sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True),
                                                   path, "what the programs say"))
        raise SystemExit(f"{path} is not what the programs say; mend it with:\n"
                         "  cmake --build build --target reference")


if __name__ == "__main__":
    main(sys.argv[1], *map(os.path.abspath, sys.argv[2:4]))
