"""Each house rule is fed a tree that breaks it, and has to object."""

import os
import subprocess
import sys
import tempfile
import unittest

import lint

HERE = os.path.dirname(os.path.abspath(__file__))


class Tree(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.root = self.scratch.name

    def put(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)
        return full

    def complaints(self, check):
        return list(lint.CHECKS[check](self.root, os.path.join(self.root, "build")))

    def assert_one(self, check, *words):
        said = self.complaints(check)
        self.assertEqual(len(said), 1, said)
        for word in words:
            self.assertIn(word, said[0])


class Includes(Tree):
    def test_a_clean_tree_passes(self):
        self.put("base/buf.h", "#include <stddef.h>\n")
        self.put("wal/record.h", '#include "base/buf.h"\n')
        self.put("wal/store_sqlite.c", '#include "wal/record.h"\n#include <sqlite3.h>\n')
        self.put("coordinator/main.c", '#include "wal/record.h"\n#include <uv.h>\n')
        self.assertEqual(self.complaints("includes"), [])

    def test_every_forbidden_direction(self):
        layers = list(lint.LAYERS)
        for source in layers:
            for target in layers:
                with self.subTest(source=source, target=target):
                    header = self.put(f"{target}/some.h", "")
                    file = self.put(f"{source}/file.c", f'#include "{target}/some.h"\n')
                    if target in lint.LAYERS[source]:
                        self.assertEqual(self.complaints("includes"), [])
                    else:
                        self.assert_one("includes", f"{source}/file.c:1", f"{target}/some.h")
                    os.remove(file)
                    os.remove(header)

    def test_coordinator_and_participant_never_meet(self):
        self.assertNotIn("participant", lint.LAYERS["coordinator"])
        self.assertNotIn("coordinator", lint.LAYERS["participant"])
        self.assertNotIn("api", lint.LAYERS["wal"])
        self.assertNotIn("wal", lint.LAYERS["api"])

    def test_relative_to_the_file(self):
        self.put("base/buf.h", "")
        self.put("base/buf.c", '#include "buf.h"\n')
        self.assert_one("includes", "base/buf.c:1", "not a path from the root")

    def test_a_source_file(self):
        self.put("base/buf.c", "")
        self.put("tests/unit/base/test_buf.c", '#include "base/buf.c"\n')
        self.assert_one("includes", "no header")

    def test_every_library_in_a_file_that_does_not_own_it(self):
        for header, owners in lint.LIBRARIES.items():
            if owners != ["*"]:
                with self.subTest(header=header):
                    self.put("base/other.c", f"#include <{header}>\n")
                    self.assert_one("includes", "base/other.c:1", header)

    def test_an_unheard_of_library(self):
        self.put("base/other.c", "# include <glib.h>\n")
        self.assert_one("includes", "glib.h")

    def test_a_pure_file_that_includes_stdio(self):
        self.put("coordinator/coord_fsm.c", "#include <stdio.h>\n")
        self.assert_one("includes", "coord_fsm.c", "stdio.h")

    def test_a_pure_file_that_reaches_the_clock_by_a_header(self):
        self.put("coordinator/coord_fsm.c", '#include "coordinator/coord_fsm.h"\n')
        self.put("coordinator/coord_fsm.h", '#include "base/clock.h"\n')
        self.put("base/clock.h", "\n#include <time.h>\n")
        self.assert_one("includes", "coord_fsm.c", "time.h", "base/clock.h:2")


class Sizes(Tree):
    def function(self, lines):
        return "int f(void)\n{\n" + "    f();\n" * (lines - 2) + "}\n"

    def test_a_function_at_the_limit_passes(self):
        self.put("base/f.c", self.function(lint.FUNCTION_LINES_MAX))
        self.assertEqual(self.complaints("sizes"), [])

    def test_a_longer_one(self):
        self.put("base/f.c", "\n" + self.function(lint.FUNCTION_LINES_MAX + 1))
        self.assert_one("sizes", "base/f.c:3", "71 lines")

    def test_a_table_may_be_long(self):
        self.put("base/f.c", "static const int t[] = {\n" + "    1,\n" * 100 + "};\n")
        self.assertEqual(self.complaints("sizes"), [])

    def test_a_long_file(self):
        self.put("base/f.h", "\n" * (lint.FILE_LINES_MAX + 1))
        self.assert_one("sizes", "base/f.h:1", "701 lines")


class Words(Tree):
    def test_each_word(self):
        for word in ("TO" + "DO", "FIX" + "ME", "XX" + "X"):
            for path in ("base/f.c", "run", "cli/CMakeLists.txt", "docs/guide.md"):
                with self.subTest(word=word, path=path):
                    full = self.put(path, f"\n# {word}: later\n")
                    self.assert_one("words", f"{path}:2", word)
                    os.remove(full)

    def test_a_template_for_mkdtemp_passes(self):
        self.put("base/f.c", 'char name[] = "/tmp/XXXXXX";\n')
        self.assertEqual(self.complaints("words"), [])


class Purity(Tree):
    def compile(self, path, text):
        source = self.put(path, text)
        folder, name = os.path.split(path)
        out = os.path.join(self.root, "build", folder, "CMakeFiles", "some.dir", name + ".o")
        os.makedirs(os.path.dirname(out), exist_ok=True)
        subprocess.run(["cc", "-w", "-O1", "-c", source, "-o", out], check=True)

    def compile_both(self, coordinator, participant="int part_step(void) { return 0; }\n"):
        self.compile("coordinator/coord_fsm.c", coordinator)
        self.compile("participant/part_fsm.c", participant)

    def test_memory_assertion_and_pure_neighbours_pass(self):
        self.compile_both(
            "#include <string.h>\nvoid tpc_assert_fail(void); int part_step(void);\n"
            "void f(char *a, char *b, unsigned long n)\n"
            "{ memmove(a, b, n); if (part_step()) tpc_assert_fail(); }\n")
        self.assertEqual(self.complaints("purity"), [])

    def test_each_impure_call(self):
        for call in ("printf", "time", "malloc", "getrandom", "tpc_log", "write"):
            with self.subTest(call=call):
                self.compile_both(f"void {call}(void); void f(void) {{ {call}(); }}\n")
                self.assert_one("purity", "coord_fsm.c", f"may not use {call}")

    def test_record_may_fill_a_buffer_but_not_write_it(self):
        self.compile_both("int x;\n")
        self.compile("wal/record.c", "void tpc_buf_add(void); void fwrite(void);\n"
                                     "void f(void) { tpc_buf_add(); fwrite(); }\n")
        self.assert_one("purity", "wal/record.c", "fwrite")

    def test_a_machine_that_is_gone(self):
        self.compile("participant/part_fsm.c", "int x;\n")
        self.assert_one("purity", "coordinator/coord_fsm.c", "missing")

    def test_a_machine_that_was_not_built(self):
        self.compile("participant/part_fsm.c", "int x;\n")
        self.put("coordinator/coord_fsm.c", "int x;\n")
        self.assert_one("purity", "coordinator/coord_fsm.c", "no object")

    def test_skipped_when_instrumented(self):
        environment = dict(os.environ, ASSENT_INSTRUMENTED="thread")
        done = subprocess.run([sys.executable, os.path.join(HERE, "lint.py"), "purity", self.root],
                              env=environment, stdout=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 77)


class Format(Tree):
    def check(self, text):
        self.put(".clang-format", "BasedOnStyle: LLVM\nIndentWidth: 4\n")
        self.put("base/f.c", text)
        return subprocess.run([os.path.join(HERE, "format.sh"), self.root],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode

    def test_formatted(self):
        self.assertEqual(self.check("int f(void) { return 0; }\n"), 0)

    def test_not_formatted(self):
        self.assertNotEqual(self.check("int  f( void ){return 0;}\n"), 0)


class Usage(unittest.TestCase):
    def run_lint(self, *arguments):
        return subprocess.run([sys.executable, os.path.join(HERE, "lint.py"), *arguments],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode

    def test_unknown_check(self):
        self.assertEqual(self.run_lint("beauty", "."), 2)

    def test_complaints_are_status_1(self):
        with tempfile.TemporaryDirectory() as root:
            self.assertEqual(self.run_lint("words", root), 0)
            with open(os.path.join(root, "run"), "w", encoding="utf-8") as file:
                file.write("# TO" + "DO\n")
            self.assertEqual(self.run_lint("words", root), 1)


if __name__ == "__main__":
    unittest.main()
