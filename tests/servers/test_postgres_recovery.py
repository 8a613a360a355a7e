"""usage: test_postgres_recovery.py AGENT PG_TAG; agents and servers that die, and what the server holds
that nobody knows of."""

import json
import os
import sys
import threading
import unittest

import postgres
import recovery_cases
import world
from world import wait_until

PROGRAMS = None


class Recovery(recovery_cases.Recovery, unittest.TestCase):
    points = "agent.pg."
    one_phase_points = ["agent.pg." + name for name in ("record", "recorded", "finish", "finished")]
    lost_at = "agent.pg.record"
    sleep = "SELECT pg_sleep(2)"

    @classmethod
    def setUpClass(cls):
        cls.programs = PROGRAMS
        cls.server = postgres.Server()
        cls.addClassCleanup(cls.server.close)

    def end_sessions(self):
        self.server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE application_name LIKE 'assent-agent%'")

    def commit_by_hand(self):
        self.world.query("east", "COMMIT PREPARED '%s'"
                         % self.server.prepared(self.world.database("east"))[0])

    def test_a_branch_that_appears_after_the_start_is_found(self):
        """As if a session had prepared it after it was given up: it is asked for and rolled back."""
        east = self.world.agent("east", "GET", "/readyz?verbose")[1]["participant_id"]
        self.transfer()
        known = self.world.agent("east", "GET", "/v1/branches?state=committed")[1]["items"][0]
        gid = "assent:%s:%s:0199c0de-7a11-7c3e-9f00-5a2b1c0d0001" % (east,
                                                                     known["coordinator"]["id"])
        self.world.query("east", "BEGIN; UPDATE accounts SET balance = 0 WHERE id = 9;"
                                 " PREPARE TRANSACTION '%s'" % gid)
        self.world.daemons["east"].kill()
        self.world.start_agent("east", "agent.start.scan=delay(1)")
        self.world.check(self)
        self.assertEqual(self.world.balance("east", 9), 100)

    def test_sessions_of_an_earlier_life_are_ended_before_anything_is_asked(self):
        """What they were sent could be prepared after the same work was done again."""
        asleep = ("SELECT pid FROM pg_stat_activity WHERE state = 'active'"
                  " AND query LIKE 'SELECT pg_sleep(62)%'")
        slow = self.world.move("east", 1, -1, "slow", "from")
        slow["statements"].append({"sql": "SELECT pg_sleep(62)"})
        client = threading.Thread(target=self.world.submit, args=(slow,),
                                  kwargs={"timeout_ms": 90000})
        client.start()
        wait_until(lambda: self.world.query("east", asleep), "it is at work")
        self.world.daemons["east"].kill()
        self.assertNotEqual(self.world.query("east", asleep), [])
        self.world.start_agent("east")
        self.assertEqual(self.world.query("east", asleep), [])
        client.join()
        self.world.check(self, {"slow": False})

    def test_what_is_prepared_again_after_its_commit_is_not_committed_again(self):
        self.transfer()
        east = self.world.agent("east", "GET", "/readyz?verbose")[1]["participant_id"]
        known = self.world.agent("east", "GET", "/v1/branches?state=committed")[1]["items"][0]
        self.world.query("east", "BEGIN; UPDATE accounts SET balance = balance - 1 WHERE id = 1;"
                                 " PREPARE TRANSACTION 'assent:%s:%s:%s'"
                         % (east, known["coordinator"]["id"], known["gtid"]))
        self.world.daemons["east"].kill()
        self.world.start_agent("east")
        self.world.check(self, {"one": True})

    def test_what_other_programs_and_agents_have_prepared_is_not_touched(self):
        others = ["another program", "assent:", "assent:0199c0de-7a11-7c3e-9f00-5a2b1c0d0001:"
                  "0199c0de-7a11-7c3e-9f00-5a2b1c0d0002:0199c0de-7a11-7c3e-9f00-5a2b1c0d0003"]
        east = self.world.agent("east", "GET", "/readyz?verbose")[1]["participant_id"]
        others.append("assent:%s:of nobody" % east)
        for i, gid in enumerate(others):
            self.world.query("east", "BEGIN; UPDATE accounts SET balance = 7 WHERE id = %d;"
                                     " PREPARE TRANSACTION '%s'" % (i + 2, gid))
        self.world.daemons["east"].kill()
        self.world.start_agent("east")
        self.assertEqual(self.transfer()[0], 201)
        self.assertEqual(self.world.agent("east", "GET", "/v1/branches")[1]["items"], [])
        there = self.world.query("east", "SELECT gid FROM pg_prepared_xacts WHERE database ="
                                         " current_database()")
        self.assertEqual(sorted(there), sorted(others))
        for gid in others:
            self.world.query("east", "ROLLBACK PREPARED '%s'" % gid)

    def test_rolled_back_by_hand_is_a_hazard_and_not_done(self):
        """COMMIT PREPARED then finds nothing (42704), which is not taken for "done before"."""
        self.world.daemons["coordinator"].kill()
        self.world.start_coordinator("coord.decision.forced=delay(3000)")
        told = []
        client = threading.Thread(target=lambda: told.append(self.transfer()))
        client.start()
        wait_until(lambda: self.server.prepared(self.world.database("east")), "it is prepared")
        gid = self.server.prepared(self.world.database("east"))[0]
        self.world.query("east", "ROLLBACK PREPARED '%s'" % gid)
        client.join()
        wait_until(lambda: any(
            item["state"] == "heuristic_abort"
            for item in self.world.agent("east", "GET", "/v1/branches")[1]["items"]),
            "the agent shows that it was rolled back")
        item = self.world.agent("east", "GET", "/v1/branches")[1]["items"][0]
        self.assertTrue(item["hazard"], item)
        self.assertIn("by somebody else", item["resolved"]["reason"])
        self.assertEqual(self.world.agent("east", "POST", "/v1/branches/%s/forget" % item["gtid"],
                                          {})[0], 200)

    def test_the_doctor_shows_what_is_prepared_and_whom_it_blocks(self):
        self.assertEqual(self.doctor().returncode, 0)
        self.world.query("east", "BEGIN; UPDATE accounts SET balance = 7 WHERE id = 5;"
                                 " PREPARE TRANSACTION 'other program'")
        waiting = threading.Thread(target=self.world.query, args=(
            "east", "UPDATE accounts SET balance = balance WHERE id = 5"))
        waiting.start()
        wait_until(lambda: json.loads(self.doctor("-o", "json", "east").stdout)["items"][0]["blocks"],
                   "somebody waits for it")
        item = json.loads(self.doctor("-o", "json", "east").stdout)["items"][0]
        self.assertEqual((item["gid"], item["ours"], item["locks"][0]),
                         ("other program", False, "accounts"), item)
        self.assertIn("UPDATE accounts", item["blocks"][0]["query"])
        table = self.doctor("east").stdout
        self.assertRegex(table, "east +another program's +other program +.* 1\\n")
        self.world.query("east", "ROLLBACK PREPARED 'other program'")
        waiting.join()

class FewPlaces(unittest.TestCase):
    def test_an_exhausted_max_prepared_transactions_refuses_and_goes_on(self):
        server = postgres.Server(max_prepared=3)
        self.addCleanup(server.close)
        bank = world.World(PROGRAMS, {"east": server, "west": server}, flags=["--sessions", "8"])
        self.addCleanup(bank.close)
        load = world.Load(bank, 8)
        load.await_commits(20)
        bank.check(self, load.stop())

    def test_other_settings_after_a_restart_are_noticed(self):
        server = postgres.Server()
        self.addCleanup(server.close)
        bank = world.World(PROGRAMS, {"east": server, "file": None}, flags=["--sessions", "4"])
        self.addCleanup(bank.close)
        self.assertEqual(bank.submit(bank.move("east", 1, -1), bank.move("file", 1, 1))[0], 201)
        server.settings["fsync"] = "off"
        server.restart()
        wait_until(lambda: "fsync" in str(bank.submit(bank.move("east", 1, -1),
                                                      bank.move("file", 1, 1))[1].get("detail")),
                   "it is refused for fsync")
        server.settings["fsync"] = "on"
        server.restart()
        wait_until(lambda: bank.submit(bank.move("east", 1, -1), bank.move("file", 1, 1))[0] == 201,
                   "it goes again")
        bank.check(self)


if __name__ == "__main__":
    if postgres.programs() is None:
        print("skipped: PostgreSQL is not installed (postgresql-15)")
        sys.exit(77)
    PROGRAMS = os.path.dirname(os.path.abspath(sys.argv.pop(1)))
    PG_TAG = sys.argv.pop(1)
    unittest.main()
