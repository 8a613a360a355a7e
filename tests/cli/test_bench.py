"""usage: test_bench.py ASSENT; `assent bench` at short runs of each workload. What it counts is
checked, never how fast it was."""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import unittest

from daemons import World

ASSENT = None
OK, ERROR, USAGE = 0, 1, 2


def run(*words, directory=None):
    environment = dict(os.environ, TMPDIR=directory or tempfile.gettempdir())
    return subprocess.run([ASSENT, "bench", *words], env=environment, timeout=250, cwd=directory,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")


class Bench(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = scratch.name

    def bench(self, *words):
        done = run(*words, "--seconds", "1", "--warm-up", "200ms", "-o", "json",
                   directory=self.directory)
        self.assertEqual(done.returncode, OK, done.stderr)
        self.assertEqual(os.listdir(self.directory), [], "something was left behind")
        return json.loads(done.stdout)

    def check(self, said, workload, members):
        self.assertEqual(said["workload"], workload)
        self.assertEqual(len(said["participants"]), members)
        self.assertGreater(said["committed"], 0)
        self.assertGreater(said["committed_per_s"], 0)
        latency = said["latency_ms"]
        self.assertLess(0, latency["p50"])
        for less, more in (("p50", "p95"), ("p95", "p99"), ("p99", "p999"), ("p999", "max")):
            self.assertLessEqual(latency[less], latency[more])
        self.assertEqual(said["aborted"], sum(said["aborts"].values()))
        self.assertEqual(said["hazards"], 0)
        self.assertEqual(said["broken"], 0)
        self.assertGreater(said["coordinator"]["ended"], 0)
        self.assertGreater(said["coordinator"]["messages"], 0)
        self.assertGreater(said["coordinator"]["requests"], 0)
        for process in said["processes"]:
            self.assertGreater(process["pid"], 1)
            self.assertGreaterEqual(process["cpu_us"], 0)
        if workload != "noop":
            self.assertTrue(said["money"]["kept"] and said["money"]["exact"])
            self.assertEqual(said["money"]["before"], said["money"]["after"])
        return {process["name"]: process for process in said["processes"]}

    def test_transfer(self):
        said = self.bench("transfer", "--clients", "4", "--accounts", "1000")
        processes = self.check(said, "transfer", 2)
        self.assertEqual(set(processes), {"bench", "coordinator", "east", "west"})
        self.assertEqual(said["clients"], 4)
        self.assertEqual(said["money"]["before"], 2 * 1000 * 1000000)
        self.assertGreater(said["coordinator"]["forced_writes"], 0)
        self.assertGreater(processes["east"]["forced_writes"], 0)

    def test_hot(self):
        said = self.bench("hot", "--clients", "8")
        self.check(said, "hot", 2)
        self.assertGreater(said["attempts_again"] + said["aborted"], 0, "nobody was in the way")

    def test_wide(self):
        self.check(self.bench("wide", "--clients", "4", "--accounts", "100"), "wide", 8)

    def test_noop(self):
        said = self.bench("noop")
        self.check(said, "noop", 2)
        self.assertIsNone(said["money"])

    def test_read(self):
        said = self.bench("read", "--clients", "4")
        self.check(said, "read", 2)
        self.assertEqual(said["coordinator"]["forced_writes"], 0)

    def test_answers_when_decided(self):
        said = self.bench("transfer", "--ack", "decided", "--clients", "4")
        self.check(said, "transfer", 2)
        self.assertEqual(said["ack"], "decided")

    def test_rate(self):
        """So many begin as the clock says, whether or not they were quick."""
        said = self.bench("noop", "--rate", "50", "--clients", "500")
        self.check(said, "noop", 2)
        self.assertEqual(said["rate"], 50)
        self.assertLessEqual(said["committed"], 50 + 50)

    def test_latency_counts_from_the_intended_start(self):
        """One client cannot keep up with the rate when each answer takes 50 ms: what waits for it
        has waited, and the median is far above what a single one takes."""
        said = self.bench("noop", "--rate", "200", "--clients", "1", "--coordinator-flag",
                          "--failpoints", "--coordinator-flag", "coord.decision.forced=delay(50)")
        self.assertGreater(said["latency_ms"]["p50"], 250)

    def test_more_clients_than_descriptors(self):
        """The soft limit is not in the way."""
        least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (least, most))
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
        said = self.bench("noop", "--clients", "400")
        self.check(said, "noop", 2)

    def test_table(self):
        done = run("transfer", "--seconds", "1", "--warm-up", "0s", directory=self.directory)
        self.assertEqual(done.returncode, OK, done.stderr)
        for piece in ("tx/s", "p99", "CPU", "coordinator", "before and after"):
            self.assertIn(piece, done.stdout)

    def test_keep(self):
        done = run("transfer", "--seconds", "1", "--warm-up", "0s", "--keep", "--accounts", "50",
                   directory=self.directory)
        self.assertEqual(done.returncode, OK, done.stderr)
        kept = os.path.join(self.directory, os.listdir(self.directory)[0])
        self.assertIn(kept, done.stderr)
        totals = []
        for name in ("east", "west"):
            bank = sqlite3.connect(os.path.join(kept, name + ".db"))
            totals += bank.execute("SELECT count(*), sum(balance) FROM assent_bench_" + name)
            bank.close()
        self.assertEqual([count for count, _ in totals], [50, 50])
        self.assertEqual(sum(total for _, total in totals), 2 * 50 * 1000000)

    def test_interrupted_it_still_tells(self):
        words = [ASSENT, "bench", "noop", "--seconds", "600", "--warm-up", "0s", "-o", "json",
                 "--directory", self.directory]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              encoding="utf-8") as bench:
            log = None
            while log is None or "evt=daemon.ready" not in log:
                self.assertIsNone(bench.poll())
                found = os.listdir(self.directory)
                path = os.path.join(self.directory, found[0], "coordinator.log") if found else ""
                if os.path.exists(path):
                    with open(path, encoding="utf-8") as file:
                        log = file.read()
            while "evt=txn" not in log:
                self.assertIsNone(bench.poll())
                with open(path, encoding="utf-8") as file:
                    log = file.read()
            bench.send_signal(signal.SIGINT)
            out, err = bench.communicate(timeout=120)
        self.assertEqual(bench.returncode, OK, err)
        self.assertLess(json.loads(out)["seconds"], 600)


class Running(unittest.TestCase):
    """Against a coordinator that runs already."""

    def setUp(self):
        self.world = World(os.path.dirname(ASSENT))
        self.addCleanup(self.world.close)

    def make_tables(self, more=""):
        for name in ("east", "west"):
            bank = sqlite3.connect(self.world.path(name + ".db"))
            bank.executescript(run("--tables", name, "--accounts", "100").stdout)
            bank.executescript(more.format(name))
            bank.close()

    def bench(self, *words):
        return run("transfer", "--url", self.world.daemons["coordinator"].url, "--participant",
                   "east", "--participant", "west=sqlite", "--clients", "2", "--seconds", "1",
                   "--warm-up", "0s", *words)

    def test_tables_come_first(self):
        done = self.bench()
        self.assertEqual(done.returncode, ERROR)
        self.assertIn("assent bench --tables east=sqlite", done.stderr)

    def test_a_running_coordinator(self):
        self.make_tables()
        done = self.bench("-o", "json", "--pid", "this=%d" % os.getpid())
        self.assertEqual(done.returncode, OK, done.stderr)
        said = json.loads(done.stdout)
        self.assertTrue(said["money"]["kept"])
        self.assertEqual([p["name"] for p in said["processes"]], ["bench", "this"])

    def test_it_sees_money_that_is_lost(self):
        """A database that takes a unit of each that comes in."""
        self.make_tables("CREATE TRIGGER fee AFTER UPDATE ON assent_bench_{0}"
                         " WHEN new.balance > old.balance BEGIN UPDATE assent_bench_{0}"
                         " SET balance = balance - 1 WHERE id = new.id; END")
        done = self.bench("-o", "json")
        self.assertEqual(done.returncode, ERROR)
        self.assertRegex(done.stderr, r"\d+ units were lost")
        self.assertFalse(json.loads(done.stdout)["money"]["kept"])


class Words(unittest.TestCase):
    def refused(self, *words):
        done = run(*words)
        self.assertEqual(done.returncode, USAGE, done.stderr)
        self.assertEqual(done.stdout, "")
        return done.stderr

    def test_mistakes(self):
        for words, piece in ((["bogus"], "transfer, hot, wide, noop or read"),
                             ([], "transfer, hot, wide, noop or read"),
                             (["noop", "--clients", "0"], "--clients"),
                             (["noop", "--clients", "-1"], "--clients"),
                             (["noop", "--rate", "x"], "--rate"),
                             (["noop", "--seconds", "0"], "--seconds"),
                             (["noop", "--warm-up", "soon"], "--warm-up"),
                             (["noop", "--ack", "never"], "--ack"),
                             (["noop", "--resource", "sqlite"], "noop"),
                             (["transfer", "--resource", "oracle://x"], "--resource"),
                             (["transfer", "--participants", "1"], "--participants"),
                             (["transfer", "--participant", "east"], "--participant twice"),
                             (["transfer", "--participant", "a=b"], "NAME="),
                             (["transfer", "--participant", "a", "--participant", "b", "--keep"],
                              "--keep"),
                             (["transfer", "--pid", "this"], "NAME=PID"),
                             (["transfer", "--url", "http://127.0.0.1:9"], "--participant"),
                             (["--tables", "east=oracle"], "--tables")):
            with self.subTest(words=words):
                self.assertIn(piece, self.refused(*words))

    def test_tables(self):
        done = run("--tables", "East-1", "--accounts", "20")
        self.assertEqual(done.returncode, OK)
        bank = sqlite3.connect(":memory:")
        self.addCleanup(bank.close)
        bank.executescript(done.stdout)
        self.assertEqual(list(bank.execute("SELECT count(*), max(id), sum(balance)"
                                           " FROM assent_bench_east_1")), [(20, 20, 20000000)])


if __name__ == "__main__":
    ASSENT = os.path.abspath(sys.argv[1])
    unittest.main(argv=sys.argv[:1], verbosity=1)
