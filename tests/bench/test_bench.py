"""usage: test_bench.py ROOT BUILD; the yardsticks run and count, the page says what was measured."""

import copy
import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [HERE, os.path.join(HERE, "..", "servers")]
import bench  # noqa: E402  (by the path above)
import page  # noqa: E402
import postgres  # noqa: E402

ROOT = BUILD = None


def run(name, *words):
    return subprocess.run([os.path.join(BUILD, "tests", name), *words], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, encoding="utf-8", timeout=120)


class Yardsticks(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = scratch.name

    def check(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        said = json.loads(done.stdout)
        self.assertGreater(said["committed_per_s"], 0)
        self.assertLess(0, said["latency_ms"]["p50"])
        self.assertLessEqual(said["latency_ms"]["p50"], said["latency_ms"]["max"])
        self.assertGreater(said["cpu_us"], 0)

    def test_sqlite_attach(self):
        for mode in ("delete", "wal"):
            with self.subTest(mode=mode):
                directory = os.path.join(self.directory, mode)
                os.mkdir(directory)
                self.check(run("sqlite_attach", mode, directory, "100", "100", "900"))

    def test_limit_pg(self):
        if postgres.programs() is None:
            self.skipTest("no PostgreSQL here")
        server = postgres.Server()
        self.addCleanup(server.close)
        server.sql("CREATE DATABASE east")
        server.sql("CREATE DATABASE west")
        # So few accounts that clients wait for each other, at both databases too.
        for clients, accounts in (("1", "100"), ("8", "3")):
            self.check(run("limit_pg", server.url("east"), server.url("west"), clients, accounts,
                           "100", "1900", os.path.join(self.directory, "decisions")))
        self.assertEqual(server.sql("SELECT count(*) FROM pg_prepared_xacts"), ["0"])
        self.assertEqual(server.sql("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'limit%'",
                                    "east"), ["0"])

    def test_mistakes(self):
        for words in (["sqlite_attach", "persist", self.directory, "1", "1", "1"],
                      ["sqlite_attach", "wal", self.directory, "0", "1", "1"],
                      ["limit_pg"], ["limit_pg", "a", "b", "1001", "1", "1", "1", "/dev/null"]):
            with self.subTest(words=words):
                done = run(*words)
                self.assertEqual((done.returncode, done.stdout), (1, ""))


def measured(speed, clients, p50=1.0, cpu=50.0, forced=0.05, requests=0.2):
    return {"committed_per_s": speed * clients, "latency_ms": {"p50": p50, "p99": 2 * p50},
            "aborted": 0, "late": 0, "coordinator": {"forced_writes": forced, "requests": requests},
            "processes": [{"name": "coordinator", "cpu_us": cpu}, {"name": "east", "cpu_us": 7}]}


def results():
    rows = [{"what": what, "clients": clients,
             "runs": [measured(speed, clients, p50=0.5 if "decided" in what else 1.0)
                      for speed in (90, 100, 400)]}
            for what, text in bench.PLAN for clients in bench.clients_of(text, False)]
    return {"date": "2026-01-02", "rounds": 3, "seconds": 4, "accounts": 10000, "machine": "a machine",
            "rows": rows}


class Page(unittest.TestCase):
    def verdicts(self, said):
        return [(page.verdict(value, met), what) for what, _, value, met, _ in page.targets(said)]

    def test_all_targets_are_met_when_they_are(self):
        self.assertEqual({verdict for verdict, _ in self.verdicts(results())}, {"met"})

    def test_each_target_can_be_missed(self):
        """Everything as bad as can be: rates of the yardsticks high, ours low, costs high."""
        said = results()
        for row in said["rows"]:
            yardstick = row["what"].startswith(("limit", "sqlite-"))
            cost = {256: 100, 1024: 200}.get(row["clients"], 500)
            speed = 1e9 if yardstick or (row["what"], row["clients"]) == ("hot", 1) else 0.001
            row["runs"] = [measured(speed, 1, 0.001 if yardstick else 9, cost, 9, 9)] * 3
            for run_ in row["runs"]:
                run_["aborted"] = 1
        self.assertEqual({verdict for verdict, _ in self.verdicts(said)}, {"missed"})

    def test_what_was_not_run_is_not_measured(self):
        said = results()
        said["rows"] = []
        self.assertEqual({verdict for verdict, _ in self.verdicts(said)}, {"not measured"})

    def test_it_is_the_median_that_counts(self):
        said = results()
        noop = [row for row in said["rows"] if (row["what"], row["clients"]) == ("noop", 256)][0]
        text = page.page(said)
        self.assertIn("| noop | 256 | 25,600 [23,040–102,400] |", text)
        for run_ in noop["runs"][:2]:
            run_["committed_per_s"] = 10
        self.assertIn("| noop | 256 | 10 [10–102,400] |", page.page(said))
        self.assertIn(("missed", "noop, 256 clients"), self.verdicts(said))

    def test_the_picture_is_well_formed(self):
        root = xml.etree.ElementTree.fromstring(page.picture(results()))
        lines = [e for e in root.iter() if e.tag.endswith("path") and e.get("fill") == "none"]
        self.assertEqual(len(lines), 2 * len(page.COLOURS))

    def test_only_what_pages_show_is_kept(self):
        said = copy.deepcopy(results())
        said["rows"][0]["runs"][0]["processes"][0]["pid"] = 17
        self.assertNotIn("pid", json.dumps(bench.slim(said)))
        self.assertEqual(page.page(bench.slim(said)), page.page(said))

    def test_the_page_is_what_was_measured(self):
        bench.check(ROOT)

    def test_a_quick_round_takes_a_part_of_the_plan(self):
        self.assertEqual(bench.clients_of("1 64 | 4 16", True), [1, 64])
        self.assertEqual(bench.clients_of("1 64 | 4 16", False), [1, 4, 16, 64])
        self.assertEqual(bench.clients_of("| 16", True), [])


if __name__ == "__main__":
    ROOT, BUILD = (os.path.abspath(word) for word in sys.argv[1:3])
    unittest.main(argv=sys.argv[:1])
