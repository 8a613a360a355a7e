"""usage: test_example.py ROOT BIN; the participant of docs/examples against the real coordinator."""

import json
import os
import random
import sqlite3
import sys
import tempfile
import unittest
import uuid

import daemons

ROOT = BIN = None
STOCK = 40


class Example(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.path = os.path.join(self.folder, "shop.db")
        with sqlite3.connect(self.path) as shop:
            shop.execute("CREATE TABLE orders(id TEXT PRIMARY KEY NOT NULL, count INTEGER NOT NULL)")
        shop.close()
        self.port = "0"
        self.tickets = self.start_tickets()

    def start(self, name, *words):
        daemon = daemons.Daemon(self.folder, name, *words)
        self.addCleanup(daemon.stop)
        return daemon

    def start_tickets(self):
        tickets = self.start("tickets", sys.executable, os.path.join(ROOT, "docs/examples/tickets.py"),
                             self.port, "tickets", str(STOCK))
        self.port = tickets.url.rpartition(":")[2]
        return tickets

    def start_coordinator(self, listen="127.0.0.1:0", failpoints=""):
        return self.start("assentd", os.path.join(BIN, "assentd"), "--data", "data", "--listen", listen,
                          "--participant", "shop=" + self.shop.url,
                          "--participant", "tickets=" + self.tickets.url,
                          "--failpoints", failpoints)

    def buy(self, order, count, key=None):
        """The status of the answer; None when there is none."""
        branches = [{"participant": "shop", "statements": [
            {"sql": "INSERT INTO orders VALUES (?, ?)", "params": [order, count]}]},
                    {"participant": "tickets", "statements": [{"sql": "reserve", "params": [count]}]}]
        try:
            return daemons.ask("POST", self.coordinator.url + "/v1/transactions",
                               {"branches": branches}, {"Idempotency-Key": key or order})[0]
        except OSError:
            return None

    def sold(self):
        """Tickets sold by the log of the example: held ones do not count."""
        branches = {}
        with open(os.path.join(self.folder, "tickets/log"), encoding="utf-8") as log:
            for entry in map(json.loads, log):
                if "gtid" in entry:
                    branches.setdefault(entry["gtid"], {}).update(entry)
        self.assertNotIn("prepared", [b["state"] for b in branches.values()])
        return sum(b["count"] for b in branches.values() if b["state"] == "committed")

    def ordered(self):
        shop = sqlite3.connect(self.path)
        try:
            return shop.execute("SELECT coalesce(sum(count), 0) FROM orders").fetchone()[0]
        finally:
            shop.close()

    def test_sells_each_ticket_once_whoever_dies(self):
        seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
        dice = random.Random(seed)
        self.shop = self.start("shop", os.path.join(BIN, "assent-agent"), "sqlite:shop.db", "--name",
                               "shop", "--data", "agent", "--listen", "127.0.0.1:0")
        self.coordinator = self.start_coordinator()
        listen = self.coordinator.url.partition("//")[2]
        points = ["coord.decision.forced", "coord.commit.send", "coord.vote.receive", "coord.end.log"]
        committed = {}
        for turn in range(12):
            order, count = str(uuid.uuid4()), dice.randint(1, 6)
            if turn % 3 == 1:
                self.tickets.process.kill()
                self.tickets.process.wait()
                self.buy(order, count)
                self.tickets = self.start_tickets()
            elif turn % 3 == 2:
                self.coordinator.stop()
                self.coordinator = self.start_coordinator(listen, dice.choice(points) + "=1*kill")
                self.buy(order, count)
                self.coordinator.stop()
                self.coordinator = self.start_coordinator(listen)
            status = self.buy(order, count)
            self.assertIn(status, (201, 409), (seed, turn))
            if status == 201:
                committed[order] = count
        checked = daemons.run(os.path.join(BIN, "assent"), "check", "--wait", "20s", "--url",
                              self.coordinator.url)
        self.assertEqual(checked.returncode, 0, (seed, checked.stdout))
        self.assertEqual(self.ordered(), sum(committed.values()), seed)
        self.assertEqual(self.sold(), sum(committed.values()), seed)
        self.assertLessEqual(self.sold(), STOCK, seed)
        self.assertGreater(len(committed), 3, seed)

    def test_answers_by_the_protocol(self):
        who = {"id": str(uuid.uuid4()), "url": "http://127.0.0.1:9", "generation": 2,
               "nonce": str(uuid.uuid4())}

        def send(op, gtid, count=None, **more):
            statements = {"statements": [{"sql": "reserve", "params": [count]}]} if count else {}
            body = {"coordinator": {**who, **more.pop("who", {})},
                    "messages": [{"op": op, "gtid": gtid, **statements, **more}]}
            return json.loads(daemons.ask("POST", self.tickets.url + "/v1/messages", body)[2])

        one, two, three, four = (str(uuid.uuid4()) for _ in range(4))
        self.assertEqual(send("prepare", one, 1)["vote"], "yes")
        self.assertEqual(send("prepare", one, 1)["vote"], "yes")
        self.assertEqual(send("commit", one)["state"], "committed")
        self.assertEqual(send("commit", one)["state"], "committed")
        self.assertEqual(send("commit", two)["state"], "unknown")
        self.assertEqual(send("abort", two)["state"], "aborted")
        self.assertEqual(send("prepare", two, 1)["vote"], "no")
        self.assertEqual(send("prepare", three, STOCK, one_phase=True)["vote"], "no")
        self.assertEqual(send("prepare", four, 1, one_phase=True)["vote"], "committed")
        self.assertEqual(send("abort", four, one_phase=True)["state"], "committed")
        self.assertEqual(send("abort", "17")["error"], "invalid_gtid")
        other = {"id": str(uuid.uuid4())}
        self.assertEqual(send("commit", one, who=other)["error"], "wrong_coordinator")
        self.assertEqual(send("commit", one, who={"generation": 1})["error"], "log_set_back")
        lost, five = {"participant_id": str(uuid.uuid4())}, str(uuid.uuid4())
        self.assertEqual(send("prepare", five, 1, one_phase=True, **lost)["error"], "wrong_participant")
        self.assertEqual(send("commit", two, **lost)["error"], "wrong_participant")
        self.assertEqual(send("commit", one, **lost)["state"], "committed")
        self.tickets.process.kill()
        self.tickets.process.wait()
        self.tickets = self.start_tickets()
        self.assertEqual(send("commit", one)["state"], "committed")
        self.assertEqual(send("prepare", three, 1, one_phase=True)["vote"], "no")
        self.assertEqual(send("commit", one, who={"generation": 1})["error"], "log_set_back")
        self.assertEqual(self.sold(), 2)


if __name__ == "__main__":
    ROOT, BIN = map(os.path.abspath, sys.argv[1:3])
    unittest.main(argv=sys.argv[:1])
