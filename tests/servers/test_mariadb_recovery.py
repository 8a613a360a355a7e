"""usage: test_mariadb_recovery.py AGENT; agents and servers that die, and what the server holds that
nobody knows of."""

import http.client
import json
import os
import sys
import threading
import time
import unittest

import mariadb
import recovery_cases
import world
from world import wait_until

PROGRAMS = None


class Recovery(recovery_cases.Recovery, unittest.TestCase):
    points = "agent.maria."
    one_phase_points = ["agent.maria.finish", "agent.maria.finished"]
    lost_at = "agent.maria.prepared"
    sleep = "SELECT SLEEP(2)"

    @classmethod
    def setUpClass(cls):
        cls.programs = PROGRAMS
        cls.server = mariadb.Server()
        cls.addClassCleanup(cls.server.close)

    def end_sessions(self):
        for number in self.server.sql("SELECT ID FROM information_schema.PROCESSLIST"
                                      " WHERE USER = 'assent'"):
            self.server.sql("KILL " + number, fail=False)

    # ---- By hand ----

    def name(self, gtid, bank="east"):
        """What that agent calls the branch of a transaction."""
        agent = self.world.agent(bank, "GET", "/readyz?verbose")[1]["participant_id"]
        known = self.world.agent(bank, "GET", "/v1/branches?state=committed")[1]["items"]
        return "'assent:%s','%s%s',1095978580" % (gtid, agent.replace("-", ""), known[0][
            "coordinator"]["id"].replace("-", ""))

    def marker(self, name):
        gtid, ids = (text.strip("'") for text in name.split(",")[:2])
        return "INSERT INTO _assent_applied VALUES (x'%s', x'%s', x'%s')" % (
            ids[:32], gtid[len("assent:"):].replace("-", ""), ids[32:])

    def prepare(self, name, *statements, bank="east"):
        """As another program does; nobody's session has it afterwards."""
        self.world.query(bank, "XA START %s; %s; XA END %s; XA PREPARE %s" % (
            name, "; ".join(statements), name, name))

    def in_doubt(self, bank="east"):
        return self.world.agent(bank, "GET", "/v1/branches")[1]["items"]

    def hold(self):
        """A transfer that is decided (commit), of which nobody has been told: start_coordinator()
        lets it go on."""
        self.world.daemons["coordinator"].kill()
        self.world.start_coordinator("coord.decision.forced=1*kill")
        self.transfer()
        self.assertEqual(self.world.daemons["coordinator"].wait(), -9)
        self.assertEqual([len(self.server.prepared(self.world.database(bank)))
                          for bank in ("east", "west")], [1, 1])

    def end_by_hand(self, how):
        """While a session has it nobody else can. Returns its name."""
        name = self.server.prepared(self.world.database("east"))[0]
        self.end_sessions()
        time.sleep(0.3)  # as participant/maria_detach.c waits, and for the same reason
        wait_until(lambda: self.server.sql("XA %s %s" % (how, name), fail=False) is not None,
                   "it is ended")
        return name

    def commit_by_hand(self):
        self.end_by_hand("COMMIT")

    def test_a_branch_that_appears_after_the_start_is_found(self):
        """As if a session had prepared it after it was given up: it is asked for and rolled back."""
        self.transfer()
        name = self.name("0199c0de-7a11-7c3e-9f00-5a2b1c0d0001")
        self.prepare(name, self.marker(name), "UPDATE accounts SET balance = 0 WHERE id = 9")
        self.end_sessions()  # after which the agent looks at once
        self.world.check(self)
        self.assertEqual(self.world.balance("east", 9), 100)

    def test_what_other_programs_and_agents_have_prepared_is_not_touched(self):
        self.transfer()
        ours = self.name("0199c0de-7a11-7c3e-9f00-5a2b1c0d0001")
        first, second, number = ours.split(",")
        others = ["'another program','',1", "%s,%s,1" % (first, second), "%s,'',%s" % (first, number),
                  "%s,'%s',%s" % (first, "0" * 64, number), "'assent:',%s,%s" % (second, number)]
        for i, name in enumerate(others):
            self.prepare(name, "UPDATE accounts SET balance = 7 WHERE id = %d" % (i + 2))
        self.world.daemons["east"].kill()
        self.world.start_agent("east")
        self.assertEqual(self.transfer("two")[0], 201)
        self.assertEqual(self.in_doubt(), [])
        self.assertEqual(sorted(self.server.names()), sorted(others))
        for name in others:
            self.server.sql("XA ROLLBACK " + name)

    def test_rolled_back_by_hand_is_a_hazard_and_not_done(self):
        """XA COMMIT then says XAER_NOTA, and so does it of what was committed before."""
        self.hold()
        self.end_by_hand("ROLLBACK")
        self.world.start_coordinator()
        wait_until(lambda: any(item["state"] == "heuristic_abort" for item in self.in_doubt()),
                   "the agent shows that it was rolled back")
        item = self.in_doubt()[0]
        self.assertTrue(item["hazard"], item)
        self.assertIn("by somebody else", item["resolved"]["reason"])
        self.assertEqual(self.world.agent("east", "POST", "/v1/branches/%s/forget" % item["gtid"],
                                          {})[0], 200)

    def test_nota_is_not_done_while_another_session_has_the_branch(self):
        self.hold()
        name = self.end_by_hand("ROLLBACK")
        other = self.server.session(self.world.database("east"))
        self.addCleanup(other.close)
        other.say("XA START %s; %s; UPDATE accounts SET balance = 99 WHERE id = 1;"
                  "INSERT INTO ledger VALUES ('one', 'from', -1); XA END %s; XA PREPARE %s"
                  % (name, self.marker(name), name, name))
        self.world.start_coordinator()
        wait_until(lambda: "another session" in str(self.in_doubt()), "the agent says who has it")
        self.assertEqual(self.in_doubt()[0]["decided"], "commit")
        self.assertEqual(self.server.prepared(self.world.database("east")), [name])
        other.close()
        self.world.check(self, {"one": True})

    def test_another_session_ends_a_branch_only_when_the_server_has_let_go_of_it(self):
        """Just when it lets go, it says OK, does nothing and keeps the locks until it is restarted:
        so the session must be gone for a while, by the server's own clock."""
        for decision, begin in (("COMMIT", self.hold), ("ROLLBACK", self.prepare_and_abort)):
            with self.subTest(decision):
                self.addCleanup(self.server.sql, "SET GLOBAL general_log = 0")
                self.server.sql("SET GLOBAL log_output = 'TABLE'; TRUNCATE mysql.general_log;"
                                "SET GLOBAL general_log = 1")
                begin()
                self.restart("east", None)  # which knows by its log whose the branch is
                self.world.start_coordinator()
                self.world.check(self)
                self.server.sql("SET GLOBAL general_log = 0")
                self.assertGreater(self.waited_ms(decision), 200)

    def prepare_and_abort(self):
        """East has prepared, and west has not answered when the coordinator dies."""
        slow = self.world.move("west", 2, 1, "aborted", "to")
        slow["statements"].insert(0, {"sql": self.sleep})
        thread = threading.Thread(target=self.submit_quietly, args=(
            self.world.move("east", 2, -1, "aborted", "from"), slow))
        thread.start()
        wait_until(lambda: self.server.prepared(self.world.database("east")), "east has prepared")
        self.world.daemons["coordinator"].kill()
        thread.join()

    def submit_quietly(self, *branches):
        try:
            self.world.submit(*branches, timeout_ms=5000)
        except (OSError, http.client.HTTPException):
            pass  # the coordinator is killed meanwhile

    def waited_ms(self, decision):
        """From the last look whether the session is still there to the decision by another one."""
        said = self.server.sql(
            "SELECT thread_id, ROUND(UNIX_TIMESTAMP(event_time) * 1000), argument"
            " FROM mysql.general_log WHERE argument LIKE 'XA %' OR argument LIKE"
            " '%PROCESSLIST WHERE ID%' ORDER BY event_time")
        said = [line.split("|", 2) for line in said]
        owner, xid = next((thread, text.rpartition("XA PREPARE ")[2]) for thread, _, text in said
                          if "XA PREPARE" in text and self.of_east(text))
        asked = [int(at) for _, at, text in said if ("PROCESSLIST WHERE ID = %s " % owner) in text]
        ended = [(thread, int(at)) for thread, at, text in said
                 if text.startswith("XA %s %s;" % (decision, xid))]
        self.assertTrue(asked and ended, said)
        self.assertNotIn(owner, [thread for thread, _ in ended])
        return ended[0][1] - asked[-1]

    def of_east(self, text):
        agent = self.world.agent("east", "GET", "/readyz?verbose")[1]["participant_id"]
        return agent.replace("-", "") in text

    def test_a_session_that_is_lost_leaves_its_branch_to_the_others(self):
        self.hold()
        self.end_sessions()
        self.world.start_coordinator()
        self.world.check(self, {"one": True})

    def test_a_commit_that_the_server_loses_and_brings_back_is_committed_again(self):
        self.transfer()
        gtid = self.world.agent("east", "GET", "/v1/branches?state=committed")[1]["items"][0]["gtid"]
        name = self.name(gtid)
        self.world.query("east", "DELETE FROM _assent_applied WHERE coordinator <> '' AND gtid ="
                                 " x'%s'; DELETE FROM ledger; UPDATE accounts SET balance = 100"
                                 % gtid.replace("-", ""))
        self.prepare(name, self.marker(name), "UPDATE accounts SET balance = 99 WHERE id = 1",
                     "INSERT INTO ledger VALUES ('one', 'from', -1)")
        self.end_sessions()  # XA RECOVER is read anew after a reconnect
        self.world.check(self, {"one": True})

    def test_what_is_prepared_again_after_its_commit_is_not_committed_again(self):
        self.transfer()
        gtid = self.world.agent("east", "GET", "/v1/branches?state=committed")[1]["items"][0]["gtid"]
        self.prepare(self.name(gtid), "UPDATE accounts SET balance = balance - 1 WHERE id = 1")
        self.end_sessions()
        self.world.check(self, {"one": True})

    def test_a_log_is_not_taken_to_another_database(self):
        self.hold()
        self.world.daemons["east"].stop()
        right = self.world.resources["east"]
        self.world.resources["east"] = self.world.resources["west"]
        with self.assertRaises(AssertionError) as refused:
            self.world.start_agent("east")
        self.assertIn("prepared at another database", str(refused.exception))
        self.world.resources["east"] = right
        self.world.start_agent("east")
        self.world.start_coordinator()
        self.world.check(self, {"one": True})

    def test_markers_go_when_nobody_asks_for_them_any_more(self):
        """Also those of which a crash has lost the record."""
        markers = "SELECT LOWER(HEX(gtid)) FROM _assent_applied WHERE gtid <> x'%s'" % ("0" * 32)
        self.transfer()
        self.world.query("east", self.marker(self.name("0199c0de-7a11-7c3e-9f00-5a2b1c0d0001")))
        before = self.world.query("east", markers)
        self.assertEqual(len(before), 2)
        self.world.daemons["coordinator"].kill()
        self.world.daemons["east"].kill()
        self.world.start_agent("east", flags=["--retention", "1s"])
        self.world.start_coordinator(flags=["--retention", "1s"])
        turns = iter(range(1000))
        wait_until(lambda: self.transfer("again-%d" % next(turns))[0] == 201 and not set(
            before) & set(self.world.query("east", markers)), "the markers are gone")

    def test_markers_are_of_known_branches_though_few_are_kept_in_memory(self):
        for number in range(5):
            self.assertEqual(self.transfer("number-%d" % number)[0], 201)
        for _ in range(2):
            self.assertEqual(self.world.daemons["east"].stop(), 0)  # which writes the log
            self.world.start_agent("east", flags=["--remembered-max", "2"])
            metrics = self.world.agent("east", "GET", "/metrics")[1].decode()
            self.assertIn("\nassent_branches_remembered 2\n", metrics)
            self.assertIn("\nassent_branches_logged 5\n", metrics)

    # ---- A session of an earlier life, which the server lets go on ----

    COORDINATOR = {"id": "0199c0de-7a11-4c3e-9f00-5a2b1c0d0099", "url": "http://127.0.0.1:1",
                   "generation": 1, "nonce": "0199c0de-7a11-4c3e-9f00-5a2b1c0d0098"}

    def earlier(self, gtid):
        """One that has begun the branch of this transaction, and its name."""
        agent = self.world.agent("east", "GET", "/readyz?verbose")[1]["participant_id"]
        name = "'assent:%s','%s%s',1095978580" % (
            gtid, agent.replace("-", ""), self.COORDINATOR["id"].replace("-", ""))
        other = self.server.session(self.world.database("east"))
        self.addCleanup(other.close)
        other.say("XA START %s; %s; UPDATE accounts SET balance = balance - 1 WHERE id = 1"
                  % (name, self.marker(name)))
        return other, name

    def prepare_again(self, gtid, **members):
        message = {"op": "prepare", "gtid": gtid, "began_us": 1763632800123456, "timeout_ms": 20000,
                   "statements": self.world.move("east", 1, -1)["statements"], **members}
        return self.world.agent("east", "POST", "/v1/messages", {
            "coordinator": self.COORDINATOR, "messages": [message]})[1]

    def test_what_an_earlier_life_has_begun_is_not_done_beside_it(self):
        """While it has the name nobody else can begin under it."""
        other, name = self.earlier("0199c0de-7a11-7c3e-9f00-5a2b1c0d0001")
        answer = self.prepare_again("0199c0de-7a11-7c3e-9f00-5a2b1c0d0001")
        self.assertEqual((answer["vote"], answer["cause"]["code"]), ("no", "conflict"), answer)
        self.assertIn("XAER_DUPID", answer["cause"]["detail"])
        other.say("XA END %s; XA PREPARE %s" % (name, name))
        other.close()
        self.end_sessions()  # after which the agent looks: it was refused, so it is rolled back
        self.world.check(self)

    def test_what_an_earlier_life_commits_in_one_phase_is_told_once_it_is_known(self):
        gtid = "0199c0de-7a11-7c3e-9f00-5a2b1c0d0002"
        other, name = self.earlier(gtid)
        answers = []
        client = threading.Thread(target=lambda: answers.append(
            self.prepare_again(gtid, one_phase=True)))
        client.start()
        wait_until(lambda: any("to=PROVING" in line for line in self.world.daemons["east"].lines),
                   "its proof is sought")
        self.assertEqual(answers, [])
        other.say("XA END %s; XA COMMIT %s ONE PHASE" % (name, name))
        client.join()
        self.assertEqual(answers[0]["vote"], "committed", answers)
        self.world.check(self, total=1999)

    # ---- The doctor ----

    def test_the_doctor_shows_what_is_prepared_and_whom_it_blocks(self):
        self.assertEqual(self.doctor().returncode, 0)
        self.server.sql("GRANT PROCESS ON *.* TO assent@'%'")
        self.addCleanup(self.server.sql, "REVOKE PROCESS ON *.* FROM assent@'%'")
        self.world.daemons["east"].stop()
        self.world.start_agent("east")
        self.prepare("'other program'", "UPDATE accounts SET balance = 7 WHERE id = 5")
        waiting = threading.Thread(target=self.world.query, args=(
            "east", "UPDATE accounts SET balance = balance WHERE id = 5"))
        waiting.start()

        def somebody_waits():
            # What the server tells of locks it renews when nobody has asked for 0.1 s, and not else.
            time.sleep(0.2)
            return json.loads(self.doctor("-o", "json", "east").stdout)["items"][0]["blocks"]

        wait_until(somebody_waits, "somebody waits for it")
        item = json.loads(self.doctor("-o", "json", "east").stdout)["items"][0]
        self.assertEqual((item["gid"], item["ours"], item["locks"]),
                         ("other program", False, ["accounts"]), item)
        self.assertIn("UPDATE accounts", item["blocks"][0]["query"])
        table = self.doctor("east").stdout
        self.assertRegex(table, "east +another program's +other program +.* 1\\n")
        self.server.sql("XA ROLLBACK 'other program'")
        waiting.join()

    def test_the_doctor_without_the_right_to_see_processes_shows_the_list(self):
        self.hold()
        items = self.world.agent("east", "GET", "/v1/doctor")[1]["items"]
        self.assertEqual(sorted(item["ours"] for item in items), [False, True])
        for item in items:
            self.assertRegex(item["gid"], "^assent(:[0-9a-f-]{36}){3}$")
            self.assertEqual((item["locks"], item["blocks"]), ([], []))
        self.world.start_coordinator()
        self.world.await_rest()


class OtherSettings(unittest.TestCase):
    def test_other_settings_after_a_restart_are_noticed(self):
        server = mariadb.Server()
        self.addCleanup(server.close)
        bank = world.World(PROGRAMS, {"east": server, "file": None}, flags=["--sessions", "4"])
        self.addCleanup(bank.close)
        both = (bank.move("east", 1, -1), bank.move("file", 1, 1))
        self.assertEqual(bank.submit(*both)[0], 201)
        server.settings["innodb_flush_log_at_trx_commit"] = "2"
        server.restart()
        wait_until(lambda: "innodb_flush_log" in str(bank.submit(*both)[1].get("detail")),
                   "it is refused for the setting")
        del server.settings["innodb_flush_log_at_trx_commit"]
        server.restart()
        wait_until(lambda: bank.submit(*both)[0] == 201, "it goes again")
        bank.check(self)


if __name__ == "__main__":
    if mariadb.programs() is None:
        print("skipped: MariaDB is not installed (mariadb-server)")
        sys.exit(77)
    PROGRAMS = os.path.dirname(os.path.abspath(sys.argv.pop(1)))
    unittest.main()
