"""Run long tiers by name, keep what they said, and write docs/proof.md from it.

usage: proof.py ROOT run [--minutes N] [TIER…]   all tiers when none is named; N is for each
       proof.py ROOT list | write | check

What tiers there are stands in tiers.toml, what they said last in results.json, both beside this
file. `write` makes the page from the two; `check` ends with 1 where it is another one."""

import datetime
import difflib
import json
import os
import re
import subprocess
import sys
import time
import tomllib

SKIPPED = 77
PARTIAL_MINUTES = 10
FIELDS = {"name", "covers", "gate", "short", "build", "commands", "bounded", "partial", "result"}
HEAD = """# Proof

How the promises are put to the proof, and what came of it the last time. `./run test` runs a short form of every tier within
minutes. The long ones run by name, `./run proof TIER…`, where `--minutes N` bounds what can be bounded, and what they said
stands below, good or bad: this page is written by `./run proof` and not by hand.

What is done to the system differs; what must hold afterwards does not. Of every transaction all branches are applied or
none. What a client was told is what the databases hold. Each transfer is there exactly once, and the sum of the money is
what it was. Nothing stays in doubt, no lock is left, and another restart changes nothing. Each of these checks has tests
with broken histories, to which it must object.

*Held* is a run to the end that reached its gate, *in part* one that had to stop before.

"""


class Refused(Exception):
    """The words go to whoever asked."""


def load(root):
    folder = os.path.join(root, "tests", "proof")
    with open(os.path.join(folder, "tiers.toml"), "rb") as file:
        tiers = tomllib.load(file)["tier"]
    for tier in tiers:
        unknown = set(tier) - FIELDS
        lacking = {"name", "covers", "gate", "short", "commands", "result"} - set(tier)
        if unknown or lacking:
            raise Refused("tiers.toml, %s: unknown %s, lacking %s"
                          % (tier.get("name"), sorted(unknown), sorted(lacking)))
    path = os.path.join(folder, "results.json")
    results = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            results = json.load(file)
    return tiers, results


def save(root, results):
    with open(os.path.join(root, "tests", "proof", "results.json"), "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1, sort_keys=True, ensure_ascii=False)
        file.write("\n")


# ---- Running ----

def commit(root):
    def git(*words):
        return subprocess.run(["git", *words], cwd=root, check=True, stdout=subprocess.PIPE,
                              encoding="utf-8").stdout.strip()
    try:
        # What the tiers themselves write is no change of what was run.
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".",
                      ":!docs/proof.md", ":!tests/proof/results.json",
                      ":!docs/mutants.md", ":!tests/mutants/caught.txt")
        return git("rev-parse", "--short=12", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def build(root, targets):
    for words in (["cmake", "--preset", "dev", "-DBUILD_TESTING=ON"],
                  ["cmake", "--build", "--preset", "dev", "--target", *targets]):
        done = subprocess.run(words, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              encoding="utf-8", check=False)
        if done.returncode != 0:
            raise Refused("failed: %s\n%s" % (" ".join(words), done.stdout[-4000:]))


def run_command(root, words, pattern):
    """Its status and the lines that are its result; everything is shown as it comes."""
    print("==> " + " ".join(words), file=sys.stderr, flush=True)
    lines = []
    with subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE, encoding="utf-8",
                          errors="replace") as process:
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            if pattern.search(line):
                lines.append(line.rstrip())
    return process.returncode, lines


def run_tier(root, tier, minutes):
    if tier.get("build"):
        build(root, tier["build"])
    pattern, partial = re.compile(tier["result"]), re.compile(tier.get("partial", "stopped"))
    began, lines, broken, skipped = time.monotonic(), [], [], 0
    for index, words in enumerate(tier["commands"]):
        left = (minutes * 60 - (time.monotonic() - began)) / (len(tier["commands"]) - index)
        words = [word.replace("{seconds}", str(max(1, int(left)))) for word in words]
        status, found = run_command(root, words, pattern)
        lines += found
        skipped += status == SKIPPED
        if status not in (0, SKIPPED):
            broken.append("%s ended with status %d" % (" ".join(words), status))
    verdict = ("violated" if broken else "skipped" if skipped == len(tier["commands"])
               else "in part" if skipped or any(partial.search(line) for line in lines) else "held")
    if not lines and not broken:
        verdict, broken = "violated", ["no line of a result"]
    return {"verdict": verdict, "lines": lines + broken, "commit": commit(root),
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
            "seconds": round(time.monotonic() - began), "cores": os.cpu_count()}


def run(root, words):
    minutes, names = PARTIAL_MINUTES, list(words)
    if "--minutes" in names:
        at = names.index("--minutes")
        if at + 1 == len(names) or not names[at + 1].isdecimal() or int(names[at + 1]) == 0:
            raise Refused("--minutes needs a number")
        minutes = int(names[at + 1])
        del names[at:at + 2]
    elif names:
        minutes = 24 * 60
    tiers, results = load(root)
    known = [tier["name"] for tier in tiers]
    for name in names:
        if name not in known:
            raise Refused("there is no tier %s; there are: %s" % (name, " ".join(known)))
    violated = []
    for tier in tiers:
        if not names or tier["name"] in names:
            results[tier["name"]] = run_tier(root, tier, minutes)
            save(root, results)
            write(root)
            print("proof: %s: %s" % (tier["name"], results[tier["name"]]["verdict"]), flush=True)
            if results[tier["name"]]["verdict"] == "violated":
                violated.append(tier["name"])
    return 1 if violated else 0


# ---- The page ----

def duration(seconds):
    if seconds < 120:
        return "%d s" % seconds
    return "%d min" % round(seconds / 60) if seconds < 7200 else "%.1f h" % (seconds / 3600)


def last(result):
    return "not run yet" if result is None else "%s, %s" % (result["verdict"], result["date"])


def section(tier, result):
    lines = ["## %s" % tier["name"], "", tier["covers"].strip(), "",
             "- Gate: %s." % tier["gate"], "- In `./run test`: %s." % tier["short"],
             "- Again: `./run proof %s`" % tier["name"], ""]
    if result is not None:
        lines += ["%s%s, on %d cores, %s, at commit %s:" % (
                      result["verdict"][0].upper(), result["verdict"][1:], result["cores"],
                      "in " + duration(result["seconds"]), result["commit"]), "",
                  "```text", *result["lines"], "```", ""]
    return lines


def page(root):
    tiers, results = load(root)
    lines = ["| tier | gate | last |", "| --- | --- | --- |"]
    for tier in tiers:
        lines.append("| [%s](#%s) | %s | %s |" % (tier["name"], tier["name"].replace(".", ""),
                                                  tier["gate"], last(results.get(tier["name"]))))
    lines.append("")
    for tier in tiers:
        lines += section(tier, results.get(tier["name"]))
    return HEAD + "\n".join(lines)


def write(root):
    with open(os.path.join(root, "docs", "proof.md"), "w", encoding="utf-8") as file:
        file.write(page(root))


def check(root):
    path = os.path.join(root, "docs", "proof.md")
    found = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            found = file.read()
    wanted = page(root)
    sys.stdout.writelines(difflib.unified_diff(found.splitlines(True), wanted.splitlines(True),
                                               "docs/proof.md", "what ./run proof --write writes"))
    return 0 if found == wanted else 1


def main(root, words):
    what = words[0] if words else ""
    if what == "run":
        return run(root, words[1:])
    if what == "list" and len(words) == 1:
        for tier in load(root)[0]:
            print(tier["name"])
        return 0
    if what == "write" and len(words) == 1:
        write(root)
        return 0
    if what == "check" and len(words) == 1:
        return check(root)
    raise Refused(__doc__)


if __name__ == "__main__":
    try:
        sys.exit(main(os.path.abspath(sys.argv[1]), sys.argv[2:]))
    except Refused as refused:
        print(refused, file=sys.stderr)
        sys.exit(2)
