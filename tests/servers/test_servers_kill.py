"""usage: test_servers_kill.py AGENT [--seconds N] [--clients N] [--seed N]; transfers between PostgreSQL,
MariaDB and SQLite, over two of them or all three, while the coordinator, the agents and the servers
are killed at random. Afterwards: whole, as it was told, once, the sum as it was, nothing prepared."""

import argparse
import collections
import http.client
import os
import random
import subprocess
import sys
import time
import unittest

import mariadb
import postgres
import world

PROGRAMS = OPTIONS = None
ACCOUNTS = 40
LEGS = ("from", "second", "third")


class Load(world.Load):
    """As the load of other tests; every third transfer is over all banks."""

    def client(self, number):
        names = list(self.world.banks)
        for turn in range(1000000):
            if self.stopping.is_set():
                return
            txn = "%d-%d" % (number, turn)
            count = 3 if turn % 3 == 0 else 2
            legs = [self.world.move(names[(number + turn + i) % 3],
                                    1 + (number * 7 + turn * (2 * i + 1)) % self.accounts,
                                    1 - count if i == 0 else 1, txn, LEGS[i]) for i in range(count)]
            self.told[txn] = None
            try:
                status, answer = self.world.submit(*legs, timeout_ms=5000)
                if status in (201, 409) and isinstance(answer, dict):
                    self.told[txn] = answer.get("outcome") == "commit"
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.02)  # somebody was killed: not so fast


class Killed(unittest.TestCase):
    def test_everybody_is_killed_at_random_under_load(self):
        servers = {"pg": postgres.Server(), "maria": mariadb.Server()}
        for server in servers.values():
            self.addCleanup(server.close)
        bank = world.World(PROGRAMS, {**servers, "file": None}, ACCOUNTS, ["--sessions", "8"])
        self.addCleanup(bank.close)
        load = Load(bank, OPTIONS.clients, ACCOUNTS)
        kills = self.kill_for(bank, servers, OPTIONS.seconds, load)
        told = load.stop()
        bank.await_rest()
        self.assertEqual(bank.total(), 100 * ACCOUNTS * 3)
        legs = bank.legs()
        for txn, there in legs.items():
            count = 3 if int(txn.split("-")[1]) % 3 == 0 else 2
            self.assertEqual(sorted(there), sorted(LEGS[:count]), txn)
        for txn, outcome in told.items():
            if outcome is not None:
                self.assertEqual(txn in legs, outcome, txn)
        self.assertEqual(subprocess.run([os.path.join(PROGRAMS, "assent"), "--url", bank.urls["coordinator"],
                                         "check"], timeout=120).returncode, 0)
        counts = collections.Counter(told.values())
        print("seed %d, %d s, %d clients: %s killed; %d transfers: %d committed, %d aborted, %d whose "
              "client was not told, of which %d are there; nothing is prepared, the sum is as it was"
              % (OPTIONS.seed, OPTIONS.seconds, OPTIONS.clients,
                 ", ".join("%s %d×" % item for item in sorted(kills.items())), len(told),
                 counts[True], counts[False], counts[None],
                 sum(1 for txn in legs if told[txn] is None)), flush=True)
        self.assertGreater(counts[True], 0)

    def kill_for(self, bank, servers, seconds, load):
        chance = random.Random(OPTIONS.seed)
        kills = collections.Counter()
        until = time.monotonic() + seconds
        whom = ["coordinator", *bank.banks, *(name + " server" for name in servers)]
        while time.monotonic() < until:
            load.await_commits(1)
            time.sleep(chance.random())  # at any moment of what is under way
            for name in chance.sample(whom, chance.choice((1, 1, 2))):
                kills[name] += 1
                if name.endswith(" server"):
                    servers[name.split()[0]].kill()
                else:
                    bank.daemons[name].process.kill()
                    bank.daemons[name].process.wait()
            for server in servers.values():
                if server.process.poll() is not None:
                    server.start()
            self.revive(bank)
        return kills

    def revive(self, bank):
        """An agent that is started just when its server dies ends, and is started again."""
        for _ in range(5):
            try:
                return bank.revive()
            except AssertionError:
                time.sleep(0.1)
        return bank.revive()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("agent")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1000000)
    OPTIONS = parser.parse_args()
    if postgres.programs() is None or mariadb.programs() is None:
        print("skipped: PostgreSQL and MariaDB are not both installed (postgresql-15, mariadb-server)")
        sys.exit(77)
    PROGRAMS = os.path.dirname(os.path.abspath(OPTIONS.agent))
    unittest.main(argv=sys.argv[:1])
