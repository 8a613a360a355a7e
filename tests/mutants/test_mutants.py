"""That the tool of the mutants does what it says, on made-up lists and sources."""

import os
import sys
import tempfile
import unittest

import catalogue
import layers
import report

SOURCE = """#include "x.h"

static int helper(int a);

int other(int a)
{
    return a + 1;
}

static int helper(int a)
{
    if (a > 0 &&
        a < 9) {
        return a + 1;
    }
    return a + 1 + a;
}

static const struct row table[] = {
[ONE] = {
    [A]   = ON(go),
},
[TWO] = {
    [A]   = ON(go),
},
};
"""
ENTRY = {"name": "wrong", "file": "x.c", "in": "helper", "code": "if (a > 0 && a < 9) {",
         "fault": "if (a > 0) {", "what": "Nine is let in.", "rules": [1], "by": "model"}


def mutant(**changes):
    return catalogue.Mutant(dict(ENTRY, **changes))


class Catalogue(unittest.TestCase):
    def test_white_space_does_not_count(self):
        self.assertEqual(mutant().put_into(SOURCE),
                         SOURCE.replace("if (a > 0 &&\n        a < 9) {", "if (a > 0) {"))

    def test_the_place_narrows_it(self):
        changed = mutant(**{"in": "other", "code": "return a + 1;", "fault": "return a;"})
        self.assertEqual(changed.put_into(SOURCE), SOURCE.replace("return a + 1;", "return a;", 1))
        row = mutant(**{"in": "[TWO]", "code": "[A] = ON(go),", "fault": ""}).put_into(SOURCE)
        self.assertEqual(row.count("ON(go)"), 1)
        self.assertLess(row.index("ON(go)"), row.index("[TWO]"))

    def test_code_that_is_not_there_or_not_once(self):
        for changes in ({"code": "return b;"}, {"code": "a + 1"}, {"in": "nowhere"}):
            with self.subTest(changes), self.assertRaises(catalogue.Broken):
                mutant(**changes).put_into(SOURCE)

    def test_a_list_that_lacks_something(self):
        with self.assertRaises(catalogue.Broken):
            catalogue.Mutant({k: v for k, v in ENTRY.items() if k != "what"})
        with self.assertRaises(catalogue.Broken):
            mutant(more=1)

    def test_complaints(self):
        with tempfile.TemporaryDirectory() as root:
            with open(os.path.join(root, "x.c"), "w", encoding="utf-8") as file:
                file.write(SOURCE)
            wrong = [mutant(file="y.c"), mutant(code="gone"), mutant(fault="x\ny"),
                     mutant(fault="x" * 200)]
            self.assertEqual(list(catalogue.complaints([mutant()], root)), [])
            self.assertEqual(len(list(catalogue.complaints(wrong, root))), 4)

    def test_the_digest_follows_the_fault(self):
        self.assertEqual(mutant().digest(), mutant(what="Other words.").digest())
        self.assertNotEqual(mutant().digest(), mutant(fault="if (a < 9) {").digest())

    def test_what_has_not_changed_is_not_written(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "in", "x.c")
            catalogue.write_if_new(path, SOURCE)
            os.utime(path, (1, 1))
            catalogue.write_if_new(path, SOURCE)
            self.assertEqual(os.stat(path).st_mtime, 1)
            catalogue.write_if_new(path, SOURCE + "\n")
            self.assertNotEqual(os.stat(path).st_mtime, 1)


class Layers(unittest.TestCase):
    def test_first_words(self):
        for said, words in (
                ("model one: VIOLATION: T1: money is lost\nmore", "T1: money is lost"),
                ("assertion failed at ../a/part.c:7, f: x", "assertion failed at part.c, f: x"),
                ("1/2 Test #30: unit.a ...***Failed 0.1 sec\n[  FAILED  ] test_a__y\n"
                 "2/2 Test #31: unit.b ...***Failed 0.1 sec\n[  FAILED  ] test_b__x\n"
                 "\t 31 - unit.b (Failed)\n\t 30 - unit.a (Failed)\n", "unit.b: test_b__x"),
                ("\t 31 - crash.load (Timeout)\n", "crash.load: Timeout"),
                ("", "ended by a signal")):
            with self.subTest(said):
                self.assertEqual(layers.first_words(said), words)

    def test_a_layer_is_for_what_it_is_named_for_and_for_its_files(self):
        layer = layers.Layer("x", "", ["wal/"], 1, tests="x")
        self.assertTrue(layer.is_for(mutant(by="x")))
        self.assertTrue(layer.is_for(mutant(file="wal/log.c")))
        self.assertFalse(layer.is_for(mutant()))

    def objects(self, *command, limit_s=60):
        return layers.objection(os.path.dirname(command[0]) or "/",
                                layers.Layer("x", "", [], limit_s, command=list(command)))

    def test_a_command_that_succeeds_has_found_something(self):
        self.assertIsNone(self.objects("/bin/sh", "-c", "exit 1"))
        self.assertEqual(self.objects("/bin/sh", "-c", "echo VIOLATION: of rule 1"), "of rule 1")
        self.assertEqual(self.objects("/bin/sh", "-c", "kill -SEGV $$"), "ended by a signal")
        self.assertEqual(self.objects("/bin/sleep", "60", limit_s=0.1), "does not end")


class Report(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        before = report.RESULTS, report.PAGE
        self.addCleanup(lambda: setattr(report, "RESULTS", before[0]))
        self.addCleanup(lambda: setattr(report, "PAGE", before[1]))
        report.RESULTS = os.path.join(scratch.name, "caught.txt")
        report.PAGE = os.path.join(scratch.name, "mutants.md")

    def write(self, **caught):
        results = {"wrong": report.Result(mutant().digest(), caught)}
        report.write_results([mutant()], results)
        report.write_page([mutant()], results)

    def complaints(self, one):
        return list(report.complaints([one], report.read_results()))

    def test_what_is_written_is_read(self):
        self.write(model="T1: money: lost", load="crash.load")
        read = report.read_results()["wrong"]
        self.assertEqual((read.digest, read.caught),
                         (mutant().digest(), {"model": "T1: money: lost", "load": "crash.load"}))
        self.assertEqual(self.complaints(mutant()), [])
        with open(report.PAGE, encoding="utf-8") as file:
            self.assertIn("model, load", file.read())

    def test_what_does_not_fit(self):
        self.write(load="crash.load")
        self.assertIn("not caught by model", self.complaints(mutant())[0])
        self.write(model="T1")
        self.assertIn("has not been tried", self.complaints(mutant(fault="if (a < 9) {"))[0])
        self.assertIn("no layer", self.complaints(mutant(by="magic"))[0])
        self.assertIn("not what the list gives", self.complaints(mutant(what="Else."))[-1])

    def test_the_faults_of_the_model_are_found(self):
        names = [name for name, _ in report.faults_of_model()]
        self.assertIn("COMMIT_NOT_FORCED", names)
        self.assertGreater(len(names), 10)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
