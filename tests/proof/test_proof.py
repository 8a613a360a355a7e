"""usage: test_proof.py ROOT; proof.py with tiers that only say what they are told."""

import json
import os
import re
import sys
import tempfile
import unittest

import proof

ROOT = None
TIERS = """[[tier]]
name = "one"
covers = "What one covers."
gate = "a gate"
short = "a little"
commands = [["sh", "-c", '''%s''']]
result = '^one: '
"""


class Proof(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = scratch.name
        os.makedirs(os.path.join(self.root, "tests", "proof"))
        os.makedirs(os.path.join(self.root, "docs"))

    def tiers(self, command, more=""):
        with open(os.path.join(self.root, "tests/proof/tiers.toml"), "w", encoding="utf-8") as file:
            file.write(TIERS % command + more)

    def run_one(self, command, *words):
        """Its status, its stored result and the page."""
        self.tiers(command)
        status = proof.main(self.root, ["run", *words])
        with open(os.path.join(self.root, "tests/proof/results.json"), encoding="utf-8") as file:
            result = json.load(file)["one"]
        with open(os.path.join(self.root, "docs/proof.md"), encoding="utf-8") as file:
            return status, result, file.read()

    def test_what_a_tier_says_stands_on_the_page(self):
        status, result, page = self.run_one("echo noise; echo one: 7 runs, 0 failures", "one")
        self.assertEqual((status, result["verdict"]), (0, "held"))
        self.assertEqual(result["lines"], ["one: 7 runs, 0 failures"])
        self.assertRegex(page, r"(?s)## one\n\nWhat one covers\..*one: 7 runs, 0 failures\n```")
        self.assertRegex(page, r"\| \[one\]\(#one\) \| a gate \| held, \d{4}-\d\d-\d\d \|")
        self.assertNotIn("noise", page)
        self.assertEqual(proof.main(self.root, ["check"]), 0)

    def test_a_failure_is_kept_and_told(self):
        status, result, page = self.run_one("echo one: 1 failure; exit 3", "one")
        self.assertEqual((status, result["verdict"]), (1, "violated"))
        self.assertIn("ended with status 3", page)

    def test_a_tier_without_a_result_shows_nothing(self):
        self.assertEqual(self.run_one("echo two: fine", "one")[1]["verdict"], "violated")

    def test_what_was_stopped_or_skipped_is_not_held(self):
        self.assertEqual(self.run_one("echo one: 3 runs, stopped after 5 s", "one")[1]["verdict"],
                         "in part")
        self.assertEqual(self.run_one("echo one: skipped; exit 77", "one")[1]["verdict"], "skipped")

    def test_the_time_is_handed_on(self):
        lines = self.run_one("echo one: {seconds}", "--minutes", "100")[1]["lines"]
        self.assertRegex(lines[0], r"^one: (5\d\d\d|6000)$")

    def test_nonsense_is_refused(self):
        self.tiers("true")
        for words in (["run", "two"], ["run", "--minutes"], ["run", "--minutes", "0"], ["prove"]):
            with self.assertRaises(proof.Refused):
                proof.main(self.root, words)
        self.tiers("true", 'colour = "red"\n')
        with self.assertRaises(proof.Refused):
            proof.main(self.root, ["list"])

    def test_a_page_that_was_changed_by_hand_is_noticed(self):
        self.run_one("echo one: 7 runs", "one")
        with open(os.path.join(self.root, "docs/proof.md"), "a", encoding="utf-8") as file:
            file.write("better than that\n")
        self.assertEqual(proof.main(self.root, ["check"]), 1)


class Tiers(unittest.TestCase):
    def test_each_fuzz_target_is_run(self):
        tiers = {tier["name"]: tier for tier in proof.load(ROOT)[0]}
        run = {words[2] for words in tiers["fuzz"]["commands"]}
        there = {match.group(1) for match in map(re.compile(r"fuzz_(\w+)\.c").fullmatch,
                                                 os.listdir(os.path.join(ROOT, "tests", "fuzz")))
                 if match}
        self.assertEqual(run, there)

    def test_results_are_of_tiers_that_are_there(self):
        tiers, results = proof.load(ROOT)
        self.assertEqual(set(results) - {tier["name"] for tier in tiers}, set())
        self.assertEqual(len(tiers), len({tier["name"] for tier in tiers}))


if __name__ == "__main__":
    ROOT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
