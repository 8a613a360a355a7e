"""usage: test_run.py ROOT; the run script with a package manager and a builder that only note what
they are asked."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = None
NOTE = '#!/bin/sh\necho "$(basename "$0") $*" >>"$NOTES"\n'
PACKAGES = """#!/bin/sh
for last; do :; done
case " $MISSING " in *" $last "*) exit 1 ;; esac
printf installed
"""
APT = NOTE + 'echo "apt says $*"; exit "${APT_STATUS:-0}"\n'
SUDO = NOTE + 'exec "$@"\n'


class Run(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.tree = os.path.join(scratch.name, "tree")
        self.bin = os.path.join(scratch.name, "bin")
        self.notes = os.path.join(scratch.name, "notes")
        os.makedirs(os.path.join(self.tree, "build", "bin"))
        os.makedirs(self.bin)
        shutil.copy(os.path.join(ROOT, "run"), self.tree)
        for name, text in (("dpkg-query", PACKAGES), ("apt-get", APT), ("sudo", SUDO),
                           ("cmake", NOTE), ("ctest", NOTE)):
            self.program(os.path.join(self.bin, name), text)
        self.program(os.path.join(self.tree, "build", "bin", "assent"), NOTE)

    def program(self, path, text):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o755)

    def run_word(self, *words, missing="", **more):
        open(self.notes, "w", encoding="utf-8").close()
        environment = dict(os.environ, PATH=self.bin + ":" + os.environ["PATH"])
        environment.update(more, MISSING=missing, NOTES=self.notes)
        done = subprocess.run([os.path.join(self.tree, "run"), *words], env=environment, cwd="/",
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
                              timeout=60)
        with open(self.notes, encoding="utf-8") as file:
            done.notes = file.read()
        return done

    def test_help(self):
        for words in ([], ["help"], ["--help"]):
            done = self.run_word(*words)
            self.assertEqual((done.returncode, done.stderr, done.notes), (0, "", ""))
            for word in ("demo", "build", "test", "model", "sim", "mutants", "asan", "tsan", "fuzz", "proof",
                         "bench", "lint", "format", "help"):
                self.assertIn("\n  " + word, done.stdout)

    def test_an_unknown_word(self):
        done = self.run_word("tset")
        self.assertEqual((done.returncode, done.stdout, done.notes), (2, "", ""))
        self.assertIn('"tset"', done.stderr)
        self.assertIn("usage: ./run WORD", done.stderr)

    def test_surplus_arguments(self):
        for word in ("build", "lint", "format"):
            self.assertEqual(self.run_word(word, "more").returncode, 2)

    def test_nothing_missing_installs_nothing(self):
        done = self.run_word("build")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("apt-get", done.notes)
        self.assertIn("cmake --preset dev -DBUILD_TESTING=ON", done.notes)
        self.assertIn("--target programs", done.notes)

    def test_exactly_what_is_missing_is_installed_first(self):
        done = self.run_word("build", missing="gcc uthash-dev")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [l for l in done.notes.splitlines() if not l.startswith("sudo")]
        self.assertRegex(lines[0], r"^apt-get .*update$")
        self.assertRegex(lines[1], r"^apt-get .*install -y --no-install-recommends gcc uthash-dev$")
        self.assertIn("cmake", lines[2])
        self.assertIn("installing gcc uthash-dev", done.stderr)
        self.assertEqual("sudo" in done.notes, os.geteuid() != 0)
        self.assertNotIn("apt says", done.stdout + done.stderr)

    def test_one_of_two_alternatives_is_enough(self):
        self.assertNotIn("apt-get", self.run_word("build", missing="libcurl4-gnutls-dev").notes)
        done = self.run_word("build", missing="libcurl4-gnutls-dev libcurl4-openssl-dev")
        self.assertIn("recommends libcurl4-gnutls-dev\n", done.notes)

    def test_building_needs_no_package_of_the_tests(self):
        done = self.run_word("build", missing="libcmocka-dev clang-format")
        self.assertEqual(done.returncode, 0)
        self.assertNotIn("apt-get", done.notes)
        self.assertIn("-DBUILD_TESTING=OFF", done.notes)
        self.assertIn("recommends clang-format libcmocka-dev",
                      self.run_word("test", missing="libcmocka-dev clang-format").notes)

    def test_a_failed_installation_is_shown_and_ends_it(self):
        done = self.run_word("build", missing="gcc", APT_STATUS="100")
        self.assertEqual(done.returncode, 1)
        self.assertIn("apt says", done.stderr)
        self.assertIn("./run: failed:", done.stderr)
        self.assertNotIn("cmake", done.notes)

    def test_neither_root_nor_sudo(self):
        if os.geteuid() == 0:
            self.skipTest("root needs no sudo")
        os.remove(os.path.join(self.bin, "sudo"))
        path = ":".join(p for p in os.environ["PATH"].split(":")
                        if not os.path.exists(os.path.join(p, "sudo")))
        done = self.run_word("build", missing="gcc", PATH=self.bin + ":" + path)
        self.assertEqual(done.returncode, 1)
        self.assertIn("apt-get update && apt-get install -y", done.stderr)

    def test_arguments_go_to_ctest(self):
        done = self.run_word("test", "-R", "unit.base", "-V")
        self.assertRegex(done.notes, r"ctest --test-dir build -j2 --output-on-failure -R unit.base -V")

    def test_the_sanitizers_have_directories_of_their_own(self):
        for word, preset in (("asan", "asan-ubsan"), ("tsan", "tsan")):
            notes = self.run_word(word).notes
            self.assertIn("cmake --preset %s -DBUILD_TESTING=ON" % preset, notes)
            self.assertIn("ctest --test-dir build/%s " % preset, notes)

    def test_fuzz_runs_the_targets_that_are_there(self):
        fuzz, built = (os.path.join(self.tree, *path) for path in
                       (("tests", "fuzz"), ("build", "fuzz", "tests")))
        os.makedirs(fuzz)
        os.makedirs(built)
        for name in ("json", "record"):
            self.program(os.path.join(fuzz, "fuzz_%s.c" % name), "")
            self.program(os.path.join(built, "fuzz_" + name), NOTE)
        done = self.run_word("fuzz")
        self.assertRegex(done.notes, r"(?s)--preset fuzz .*fuzz_json -max_total_time=60 .*"
                                     r"fuzz_record .*build/fuzz/corpus/record tests/fuzz/corpus/record")
        done = self.run_word("fuzz", "record", "5", missing="libclang-rt-14-dev libclang-rt-dev")
        self.assertIn("recommends libclang-rt-14-dev\n", done.notes)
        self.assertIn("fuzz_record -max_total_time=5 ", done.notes)
        self.assertNotIn("fuzz_json", done.notes)
        for words in (("jsno",), ("json", "many"), ("json", "5", "more")):
            self.assertNotEqual(self.run_word("fuzz", *words).returncode, 0)
        self.assertIn("there are: json record", self.run_word("fuzz", "jsno").stderr)

    def test_demo_hands_its_arguments_on(self):
        self.assertTrue(self.run_word("demo", "--keep").notes.endswith("\nassent demo --keep\n"))


if __name__ == "__main__":
    ROOT = sys.argv.pop(1)
    unittest.main()
