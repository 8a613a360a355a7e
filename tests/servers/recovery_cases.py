"""What holds at every database server, as cases for the tests of each: agents and servers that die."""

import os
import signal
import subprocess
import threading

import world
from world import wait_until


class Recovery:
    """Beside unittest.TestCase, which brings: `programs`; `server`; `points`, with which the
    failpoints of its calls begin; `one_phase_points`, at
    which it dies in one phase; `lost_at`, where an agent dies between the server's prepare and
    the record of it; `sleep`, a statement of two seconds; `end_sessions()` of the agents;
    `commit_by_hand()` what east has prepared."""

    def setUp(self):
        self.world = world.World(self.programs, {"east": self.server, "west": self.server},
                                 flags=["--sessions", "4"])
        self.addCleanup(self.world.close)

    def transfer(self, txn="one"):
        try:
            return self.world.submit(self.world.move("east", 1, -1, txn, "from"),
                                     self.world.move("west", 1, 1, txn, "to"), timeout_ms=5000)
        except OSError:
            return None, {}

    def told(self, status):
        return True if status == 201 else False if status == 409 else None

    def restart(self, name, failpoints):
        self.assertEqual(self.world.daemons[name].stop(), 0)
        self.world.start_agent(name, failpoints)

    def test_an_agent_killed_at_each_database_call(self):
        """The points are asked for, not listed; the outcome is one, whatever is killed where."""
        listed = subprocess.run([os.path.join(self.programs, "assent-agent"), "--list-failpoints"],
                                stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout
        points = [line for line in listed.split() if line.startswith(self.points)]
        self.assertGreater(len(points), 8)
        told = {}
        for point in points:
            if point[len(self.points):] in ("finish", "finished", "list", "ask"):
                continue  # tests of their own
            with self.subTest(point):
                self.restart("east", "%s=kill" % point)
                if point.endswith("roll_back"):
                    refused = self.world.move("west", 1, -1000, point, "to")
                    refused["statements"].insert(0, {"sql": self.sleep})
                    self.world.submit(self.world.move("east", 1, -1, point, "from"), refused)
                    told[point] = False
                else:
                    told[point] = self.told(self.transfer(point)[0])
                self.assertEqual(self.world.daemons["east"].wait(), -9)
                self.world.start_agent("east")
                self.world.check(self, told)

    def test_one_phase_killed_at_each_step(self):
        left = 100
        # One phase is for a participant whose log the coordinator knows.
        wait_until(lambda: self.world.submit(self.world.move("east", 1, 0))[1]["branches"][0]["vote"]
                   == "committed", "the coordinator commits in one phase")
        for point in self.one_phase_points:
            with self.subTest(point):
                self.restart("east", "%s=kill" % point)
                status, answer = self.world.submit(self.world.move("east", 1, -1),
                                                   timeout_ms=2000)
                self.assertEqual(self.world.daemons["east"].wait(), -9)
                self.world.start_agent("east")
                wait_until(lambda: self.outcome(answer["id"]) is not None, "it has ended")
                left -= self.outcome(answer["id"]) == "commit"
                self.assertEqual(self.world.balance("east", 1), left, status)
        self.assertEqual(left, 99)  # committed at the server means committed

    def test_killed_before_the_server_is_asked_for_proof(self):
        """It is asked before a refusal in one phase is told."""
        wait_until(lambda: self.world.submit(self.world.move("east", 1, 0))[1]["branches"][0]["vote"]
                   == "committed", "the coordinator commits in one phase")
        self.restart("east", self.points + "ask=kill")
        refused = self.world.move("east", 1, -1)
        refused["statements"][0]["expect"] = {"rows": 2}
        answer = self.world.submit(refused, timeout_ms=2000)[1]
        self.assertEqual(self.world.daemons["east"].wait(), -9)
        self.world.start_agent("east")
        wait_until(lambda: self.outcome(answer["id"]) == "abort", "it is aborted")
        self.world.check(self)

    def test_killed_before_the_server_is_asked_what_it_holds(self):
        """Which is asked before the agent is ready; here, with a branch in doubt."""
        self.world.daemons["coordinator"].kill()
        self.world.start_coordinator("coord.decision.forced=1*kill")
        told = {"one": self.told(self.transfer()[0])}
        self.assertEqual(self.world.daemons["coordinator"].wait(), -9)
        self.assertEqual(self.world.daemons["east"].stop(), 0)
        with self.assertRaisesRegex(AssertionError, self.points + "list action=kill"):
            self.world.start_agent("east", self.points + "list=kill")
        self.world.start_agent("east")
        self.world.start_coordinator()
        self.world.check(self, told)
        self.assertIn("one", self.world.legs())

    def outcome(self, txn):
        return world.request(self.world.urls["coordinator"], "GET",
                             "/v1/transactions/" + txn)[1].get("outcome")

    def test_a_branch_whose_record_was_lost_is_found_at_the_server(self):
        self.restart("east", "%s=kill" % self.lost_at)
        told = {"one": self.told(self.transfer()[0])}
        self.world.daemons["east"].wait()
        self.assertEqual(len(self.server.prepared(self.world.database("east"))), 1)
        self.world.start_agent("east")
        self.assertTrue(any("evt=branch.found" in line for line in self.world.daemons["east"].lines))
        self.world.check(self, told)

    def test_committed_by_hand_is_a_hazard_when_it_was_to_be_aborted(self):
        """The abort then finds nothing, and asks whether it was committed."""
        west = self.world.daemons["west"].process
        west.send_signal(signal.SIGSTOP)
        client = threading.Thread(target=self.transfer)
        client.start()
        wait_until(lambda: self.server.prepared(self.world.database("east")), "it is prepared")
        txn = self.coordinator("GET", "/v1/transactions?state=preparing")["items"][0]["id"]
        self.commit_by_hand()
        self.coordinator("POST", "/v1/transactions/%s/abort" % txn, {})
        west.send_signal(signal.SIGCONT)
        client.join()
        wait_until(self.committed_by_others, "the agent shows that it was committed")
        self.world.daemons["east"].kill()
        self.world.start_agent("east")
        # It asks its coordinator anew what was decided.
        wait_until(self.committed_by_others, "it shows it again")
        item = self.committed_by_others()
        self.assertIn("somebody else has committed", item["resolved"]["reason"])
        wait_until(lambda: self.coordinator("GET", "/v1/transactions/" + txn).get("hazard"),
                   "the coordinator shows it, too")
        self.assertEqual(self.world.agent("east", "POST", "/v1/branches/%s/forget" % item["gtid"],
                                          {})[0], 200)

    def committed_by_others(self):
        for item in self.world.agent("east", "GET", "/v1/branches")[1]["items"]:
            if item["state"] == "heuristic_commit" and item["hazard"]:
                return item
        return None

    def coordinator(self, method, path, body=None):
        return world.request(self.world.urls["coordinator"], method, path, body)[1]

    def doctor(self, *flags):
        return subprocess.run([os.path.join(self.programs, "assent"), "agent", "doctor", *flags,
                               "--url", self.world.urls["coordinator"]], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, encoding="utf-8", timeout=60)

    def test_the_doctor_ends_what_is_decided_and_leaves_the_rest(self):
        self.world.daemons["coordinator"].kill()
        self.world.start_coordinator("coord.decision.forced=1*kill")
        told = {"one": self.told(self.transfer()[0])}
        self.assertEqual(self.world.daemons["coordinator"].wait(), -9)
        address = ["--agent", self.world.urls["east"]]
        shown = self.doctor("--resolve", *address)
        self.assertEqual(shown.returncode, 4, shown)
        self.assertIn("assent branch resolve", shown.stderr)
        self.world.start_coordinator()
        wait_until(lambda: self.doctor("--resolve", *address).returncode == 0, "it is ended")
        self.world.check(self, told)
        self.assertIn("one", self.world.legs())

    def test_the_server_is_killed_with_branches_prepared(self):
        self.world.daemons["coordinator"].kill()
        self.world.start_coordinator("coord.decision.forced=1*kill")
        told = {"one": self.told(self.transfer()[0])}
        self.assertEqual(self.world.daemons["coordinator"].wait(), -9)
        self.assertEqual(len(self.server.prepared(self.world.database("east"))), 1)
        self.server.kill()
        self.server.start()
        self.world.start_coordinator()
        self.world.check(self, told)
        self.assertIn("one", self.world.legs())

    def test_the_server_is_restarted_while_it_is_used(self):
        load = world.Load(self.world, 4)
        load.await_commits(5)
        self.server.restart()
        load.await_commits(5)
        self.world.check(self, load.stop())

    def test_the_server_is_killed_while_it_is_used(self):
        load = world.Load(self.world, 4)
        for _ in range(2):
            load.await_commits(5)
            self.server.kill()
            self.server.start()
        load.await_commits(5)
        self.world.check(self, load.stop())

    def test_agents_and_coordinator_are_killed_while_they_are_used(self):
        load = world.Load(self.world, 4)
        for name in ("east", "coordinator", "west", "east"):
            load.await_commits(5)
            self.world.daemons[name].kill()
            self.world.revive()
        load.await_commits(5)
        self.world.check(self, load.stop())

    def test_sessions_are_ended_while_they_are_used(self):
        load = world.Load(self.world, 4)
        for _ in range(5):
            load.await_commits(3)
            self.end_sessions()
        load.await_commits(3)
        self.world.check(self, load.stop())
