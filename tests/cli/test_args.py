"""usage: test_args.py ASSENT; the words, flags and exit codes of the command line."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import unittest

ASSENT = None
COMMANDS = [("submit",), ("tx", "ls"), ("tx", "show"), ("tx", "wait"), ("tx", "abort"),
            ("tx", "forget"), ("agent", "ls"), ("agent", "show"), ("branch", "ls"), ("branch", "resolve"),
            ("branch", "forget"), ("check",)]
OK, ERROR, USAGE, ABORTED, IN_DOUBT, UNREACHABLE = range(6)


class Words(unittest.TestCase):
    def setUp(self):
        # A port that is held, bound but not listening, so that nobody answers there.
        self.held = socket.socket()
        self.addCleanup(self.held.close)
        self.held.bind(("127.0.0.1", 0))
        self.nobody = "http://127.0.0.1:%d" % self.held.getsockname()[1]

    def run_assent(self, *words, url=None, text="", **environment):
        kept = {k: v for k, v in os.environ.items() if k not in ("ASSENT_URL", "NO_COLOR")}
        kept["ASSENT_URL"] = url or self.nobody
        kept.update(environment)
        return subprocess.run([ASSENT, *words], input=text, env=kept, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")

    def refused(self, words, *said):
        """A mistake in the words: status 2, nothing on stdout, what is wrong on stderr."""
        done = self.run_assent(*words)
        self.assertEqual(done.returncode, USAGE, (words, done.stderr))
        self.assertEqual(done.stdout, "")
        for piece in said:
            self.assertIn(piece, done.stderr)

    # ---- Help ----

    def test_help_is_data(self):
        for words in (["help"], ["--help"], ["-h"]):
            done = self.run_assent(*words)
            self.assertEqual((done.returncode, done.stderr), (OK, ""))
            for command in COMMANDS:
                self.assertIn("\n  " + " ".join(command), done.stdout)

    def test_every_command_has_help_of_its_own(self):
        for command in COMMANDS:
            for words in ([*command, "--help"], ["help", *command], ["-h", *command]):
                with self.subTest(words=words):
                    done = self.run_assent(*words)
                    self.assertEqual((done.returncode, done.stderr), (OK, ""))
                    self.assertTrue(done.stdout.startswith("usage: assent " + " ".join(command)))

    def test_help_of_a_group_lists_only_that(self):
        done = self.run_assent("help", "tx")
        self.assertEqual(done.returncode, OK)
        self.assertIn("tx wait ID", done.stdout)
        self.assertNotIn("branch ls", done.stdout)

    def test_version(self):
        done = self.run_assent("--version")
        self.assertEqual(done.returncode, OK)
        self.assertRegex(done.stdout, r"^assent \d+\.\d+\.\d+\n$")

    def test_no_command_is_usage_with_help_on_stderr(self):
        self.refused([], "usage: assent COMMAND")
        self.refused(["tx"], "usage: assent tx", "tx ls")
        self.refused(["branch", "-o", "json"], "branch resolve")

    # ---- Mistakes ----

    def test_misspelt_words_get_a_guess(self):
        self.refused(["submti"], '"submti"', 'Did you mean "submit"?')
        self.refused(["brnach", "ls"], 'Did you mean "branch"?')
        self.refused(["tx", "shwo", "x"], 'Did you mean "show"?', "assent tx --help")
        self.refused(["tx", "ls", "--particpant", "x"], 'Did you mean "--participant"?')
        self.refused(["--outptu", "json", "check"], 'Did you mean "--output"?')

    def test_a_word_like_none_gets_no_guess(self):
        done = self.run_assent("xylophone")
        self.assertEqual(done.returncode, USAGE)
        self.assertNotIn("Did you mean", done.stderr)

    def test_missing_and_surplus_words(self):
        self.refused(["submit"], "FILE|-")
        for command in ("show", "wait", "abort", "forget"):
            self.refused(["tx", command], "ID")
        self.refused(["tx", "show", "a", "b"], '"b"')
        self.refused(["check", "now"], '"now"')
        self.refused(["branch", "forget"], "GTID")

    def test_flags_and_their_values(self):
        self.refused(["tx", "ls", "--state"], "--state")
        self.refused(["check", "--url"], "--url")
        self.refused(["tx", "ls", "--all=yes"], "--all=yes")
        self.refused(["check", "-x"], '"-x"')
        self.refused(["check", "-o", "xml"], "table, json or ndjson", '"xml"')
        self.refused(["tx", "ls", "--limit", "0"], "--limit")
        self.refused(["tx", "ls", "--limit", "ten"], '"ten"')
        self.refused(["tx", "wait", "x", "--timeout", "soon"], '"soon"')
        self.refused(["tx", "wait", "x", "--timeout", "-1"], '"-1"')
        self.refused(["check", "--wait", "10y"], '"10y"')
        self.refused(["submit", "-", "--key", 'with"quote'], "key")
        self.refused(["submit", "-", "--key", ""], "key")
        self.refused(["--key", "x", "submit", "-"], "before the command", "--key")

    def test_urls(self):
        for url in ("ftp://somewhere", "http://", "://", "http://a b", "http://a?b", "x" * 600):
            with self.subTest(url=url):
                self.refused(["check", "--url", url], "not a URL")
        self.refused(["branch", "ls", "--agent", "ftp://x"], "not a URL")

    def test_resolve_needs_one_outcome_and_a_reason(self):
        self.refused(["branch", "resolve", "x", "--reason", "r"], "--commit", "--abort")
        self.refused(["branch", "resolve", "x", "--commit", "--abort", "--reason", "r"], "one of")
        self.refused(["branch", "resolve", "x", "--commit"], "--reason")
        self.refused(["branch", "resolve", "x", "--abort", "--reason="], "--reason")

    def test_crashtest_knows_what_it_is_asked_for(self):
        self.refused(["crashtest", "--only", "kil"], '"kil"', '"kill"')
        self.refused(["crashtest", "--only", "kill,"], '""')
        self.refused(["crashtest", "--process", "north"], '"north"')
        self.refused(["crashtest", "--message", "comit:1"], '"comit:1"', "KIND:N")
        self.refused(["crashtest", "--message", "commit:0"], '"commit:0"')
        self.refused(["crashtest", "--scene", "opera"], '"opera"')
        self.refused(["crashtest", "--point", "+a"], '"+a"')
        self.refused(["crashtest", "--agents", "1"], "--agents")
        self.refused(["crashtest", "--clients", "0"], "--clients")
        self.refused(["crashtest", "--seed", "x"], "--seed")
        self.refused(["crashtest", "--time-limit", "soon"], "--time-limit")
        self.refused(["crashtest", "--full", "--full"], "twice")

    def test_crashtest_takes_participants_by_name(self):
        shop = ["crashtest", "--participant", "shop=http://127.0.0.1:9"]
        self.refused(["crashtest", "--participant", "shop"], '"shop"', "NAME=http://")
        self.refused(["crashtest", "--participant", "shop=https://x"], "https://x")
        self.refused([*shop, "--participant", "shop=http://x"], "once")
        self.refused([*shop, "--participant-command", "ship=true"], '"ship=true"')
        self.refused([*shop, "--dialect", "shop=cobol"], '"cobol"')
        self.refused([*shop, "--process", "north"], '"north"')

    # ---- Nobody there ----

    def test_every_command_that_finds_nobody_is_status_5(self):
        words = {("tx", "show"): ["x"], ("tx", "wait"): ["x"], ("tx", "abort"): ["x"],
                 ("tx", "forget"): ["x"], ("agent", "show"): ["x"], ("submit",): ["-"], ("branch", "forget"): ["x"],
                 ("branch", "resolve"): ["x", "--commit", "--reason", "r"]}
        for command in COMMANDS:
            with self.subTest(command=command):
                done = self.run_assent(*command, *words.get(command, []), text="{}")
                self.assertEqual(done.returncode, UNREACHABLE, done.stderr)
                self.assertEqual(done.stdout, "")
                self.assertIn(self.nobody, done.stderr)

    def test_url_before_and_after_the_command_and_from_the_environment(self):
        other = "http://127.0.0.1:9"
        bare = self.nobody[len("http://"):]
        for words in (["--url", self.nobody, "check"], ["check", "--url", self.nobody],
                      ["check", "--url=" + self.nobody + "/"], ["tx", "--url", bare, "ls"]):
            with self.subTest(words=words):
                done = self.run_assent(*words, url=other)
                self.assertEqual(done.returncode, UNREACHABLE)
                self.assertIn(self.nobody + ":", done.stderr)
        self.assertIn(self.nobody + ":", self.run_assent("check").stderr)

    def test_output_before_and_after_the_command(self):
        for words in (["-o", "json", "check"], ["check", "-ojson"], ["check", "--output=ndjson"]):
            with self.subTest(words=words):
                self.assertEqual(self.run_assent(*words).returncode, UNREACHABLE)

    def test_a_participant_by_address_needs_no_coordinator(self):
        done = self.run_assent("branch", "ls", "--agent", self.nobody, url="http://127.0.0.1:9")
        self.assertEqual(done.returncode, UNREACHABLE)
        self.assertIn(self.nobody, done.stderr)
        self.assertNotIn("127.0.0.1:9:", done.stderr)

    def test_proxies_of_the_environment_are_not_used(self):
        done = self.run_assent("check", http_proxy="http://127.0.0.1:9")
        self.assertIn(self.nobody + ":", done.stderr)

    # ---- Files ----

    def test_submit_of_a_file_that_is_not_there(self):
        done = self.run_assent("submit", "/nonexistent/file.json")
        self.assertEqual(done.returncode, ERROR)
        self.assertIn("/nonexistent/file.json: No such file", done.stderr)

    def test_submit_of_a_directory(self):
        with tempfile.TemporaryDirectory() as directory:
            done = self.run_assent("submit", directory)
            self.assertEqual(done.returncode, ERROR)
            self.assertIn("directory", done.stderr)

    def test_check_of_a_history(self):
        head = {"history": 1, "seed": 1, "balance": 100, "members": ["east", "west"]}
        txn = {"txn": "t1", "client": 0, "invoked": 1, "completed": 2, "told": "committed", "status": 201,
               "tries": 1, "ops": [{"op": "append", "at": "east", "key": 1, "value": 11}]}
        held = {"final": "list", "at": "east", "key": 1, "values": [11]}
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "history")

            def check(*lines):
                with open(path, "w", encoding="utf-8") as file:
                    file.writelines(json.dumps(line) + "\n" for line in lines)
                return self.run_assent("crashtest", "--check", path)
            good = check(head, txn, {"final": "lists"}, held)
            self.assertEqual((good.returncode, good.stderr), (OK, ""))
            self.assertIn("1 transactions: 1 committed, 0 aborted, 0 not started, 0 unknown: as promised",
                          good.stdout)
            lost = check(head, txn, {"final": "lists"})
            self.assertEqual(lost.returncode, ERROR)
            self.assertIn("lost: t1 (): told committed, and its 11 is not in list 1 at east\n", lost.stdout)
            self.assertIn("NOT as promised", lost.stdout)
            found = json.loads(self.run_assent("-o", "json", "crashtest", "--check", path).stdout)
            self.assertEqual([(f["name"], f["times"], f["promised"]) for f in found["found"]],
                             [("lost", 1, True)])
            bad = check(head, {**txn, "told": "maybe"})
            self.assertEqual((bad.returncode, bad.stdout), (ERROR, ""))
            self.assertIn("line 2: told is wrong", bad.stderr)
        self.assertEqual(self.run_assent("crashtest", "--check", path).returncode, ERROR)
        done = self.run_assent("crashtest", "--check", path, "--seed", "1")
        self.assertEqual(done.returncode, USAGE)
        self.assertIn("--check and --seed do not go together", done.stderr)

    def test_flags_end_at_two_dashes(self):
        done = self.run_assent("submit", "--", "--no-such-file")
        self.assertEqual(done.returncode, ERROR)
        self.assertIn("--no-such-file", done.stderr)

    def test_output_that_cannot_be_written_is_an_error(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([ASSENT, "help"], stdout=full, stderr=subprocess.PIPE,
                                  encoding="utf-8", timeout=60)
        self.assertEqual(done.returncode, ERROR)
        self.assertIn("No space left", done.stderr)


if __name__ == "__main__":
    ASSENT = sys.argv.pop(1)
    unittest.main()
