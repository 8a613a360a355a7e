"""House rules that no compiler checks.

usage: lint.py CHECK ROOT [BUILD]

CHECK is includes, sizes, words or purity (which also wants the build directory). Complaints go to
stdout as file:line: words; status 0 none, 1 some, 2 wrong usage, 77 cannot be checked here.
"""

import fnmatch
import os
import re
import subprocess
import sys

# Which layer may include which. The root of every quoted include is one of these.
LAYERS = {
    "base": {"base"},
    "wal": {"wal", "base"},
    "api": {"api", "base"},
    "coordinator": {"coordinator", "wal", "api", "base"},
    "participant": {"participant", "wal", "api", "base"},
    "cli": {"cli", "api", "base"},
}

# Other people's headers, and the few files that know each of them.
LIBRARIES = {
    "cjson/cJSON.h": ["api/json_read.c"],
    "curl/curl.h": ["api/client*.c", "cli/http.c"],
    "microhttpd.h": ["api/server*.[ch]"],
    "dlfcn.h": ["tests/*"],
    "sched.h": ["tests/*"],
    "sqlite3.h": ["wal/store_sqlite*.[ch]", "participant/*sqlite*.[ch]", "tests/*"],
    "libpq-fe.h": ["participant/pg_*.[ch]", "tests/*"],
    "mysql.h": ["participant/maria_*.[ch]", "tests/*"],
    "mysqld_error.h": ["participant/maria_*.c"],
    "errmsg.h": ["participant/maria_error.c"],
    "yaml.h": ["base/config_yaml.c"],
    "uv.h": ["api/*", "coordinator/*", "participant/*", "tests/*"],
    "uthash.h": ["base/table.h", "tests/*"],
    "utlist.h": ["*"],
    "cmocka.h": ["tests/*"],
}

SYSTEM = set("""
    assert.h ctype.h errno.h fcntl.h float.h inttypes.h limits.h malloc.h math.h netdb.h poll.h pthread.h
    semaphore.h setjmp.h dlfcn.h execinfo.h signal.h stdalign.h stdarg.h stdatomic.h stdbool.h stddef.h stdint.h stdio.h
    stdlib.h stdnoreturn.h string.h strings.h syslog.h termios.h time.h unistd.h dirent.h getopt.h spawn.h
    ftw.h glob.h pwd.h arpa/inet.h netinet/in.h netinet/tcp.h
    """.split())
SYSTEM_FOLDERS = ("sys/", "linux/")

# Files that must stay free of I/O, clock, randomness and logging. The machines themselves have no
# heap either. The value is what each may import beyond memory functions, the assertion handler and
# what other pure files define.
MACHINE = []
RECORD = ["malloc", "calloc", "realloc", "free", "strlen", "strnlen", "memchr", "tpc_fail",
          "tpc_buf_*", "tpc_id_equal", "tpc_id_compare", "tpc_id_is_zero", "tpc_id_format"]
PURE = {
    "coordinator/coord_fsm.c": MACHINE,
    "coordinator/coord_moves.c": MACHINE,
    "coordinator/coord_names.c": MACHINE,
    "coordinator/coord_record.c": RECORD,
    "coordinator/coord_recover.c": RECORD,
    "coordinator/coord_table.c": RECORD,
    "participant/part_fsm.c": MACHINE,
    "participant/part_moves.c": MACHINE,
    "participant/part_names.c": MACHINE,
    "participant/part_record.c": RECORD,
    "participant/part_recover.c": RECORD,
    "wal/crc32c.c": ["__cpu_model"],  # what the processor can do, which is constant
    "wal/record.c": RECORD,
}
PURE_MUST_EXIST = ["coordinator/coord_fsm.c", "participant/part_fsm.c"]
PURE_SYSTEM = {"inttypes.h", "limits.h", "stdarg.h", "stdbool.h", "stddef.h", "stdint.h",
               "stdlib.h", "string.h"}
PURE_IMPORTS = ["memcpy", "memset", "memcmp", "memmove", "tpc_assert_fail",
                "_GLOBAL_OFFSET_TABLE_"]

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 700

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')
UNFINISHED = re.compile(r"\b(TO[D]O|FIX[M]E|XX[X])\b")


def files_of(root, endings):
    """Paths relative to root of our files with one of the endings, sorted."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [f for f in folders if f not in ("build", ".git", ".cache", "__pycache__")]
        found += [os.path.relpath(os.path.join(folder, n), root) for n in names
                  if n.endswith(endings)]
    return sorted(found)


def lines_of(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read().splitlines()


def includes_of(root, path):
    """(line number, is quoted, header) for each include of a file."""
    for number, line in enumerate(lines_of(root, path), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1) == '"', match.group(2)


def complain_of_include(root, path, quoted, header):
    """What is wrong with one include, or None."""
    layer = path.split("/")[0]
    if quoted:
        if not header.endswith(".h"):
            return f'includes "{header}", which is no header'
        if not os.path.exists(os.path.join(root, header)):
            return f'"{header}" is not a path from the root'
        if layer in LAYERS and header.split("/")[0] not in LAYERS[layer]:
            return f'{layer}/ may not include "{header}"'
        return None
    if header in LIBRARIES:
        if not any(fnmatch.fnmatch(path, owner) for owner in LIBRARIES[header]):
            return f"<{header}> belongs to {' '.join(LIBRARIES[header])}"
        return None
    if header not in SYSTEM and not header.startswith(SYSTEM_FOLDERS):
        return f"<{header}> is not among the libraries of lint.py"
    return None


def impure_includes(root, path):
    """Headers a pure file reaches, by whatever way, that could do I/O."""
    seen, ahead = set(), [path]
    while ahead:
        at = ahead.pop()
        if at in seen or not os.path.exists(os.path.join(root, at)):
            continue
        seen.add(at)
        for number, quoted, header in includes_of(root, at):
            if quoted:
                ahead.append(header)
            elif header not in PURE_SYSTEM:
                by = "" if at == path else f" (by {at}:{number})"
                yield f"{path}:1: is pure and may not reach <{header}>{by}"


def check_includes(root, _build):
    for path in files_of(root, (".c", ".h")):
        for number, quoted, header in includes_of(root, path):
            wrong = complain_of_include(root, path, quoted, header)
            if wrong:
                yield f"{path}:{number}: {wrong}"
    for path in PURE:
        yield from impure_includes(root, path)


def check_sizes(root, _build):
    for path in files_of(root, (".c", ".h", ".py")):
        lines = lines_of(root, path)
        if len(lines) > FILE_LINES_MAX:
            yield f"{path}:1: {len(lines)} lines, {FILE_LINES_MAX} is the most"
        # clang-format puts a function's braces, and only those, alone in the first column.
        start = None
        for number, line in enumerate(lines, 1):
            if line == "{" and path.endswith((".c", ".h")):
                start = number
            elif line == "}" and start is not None:
                size = number - start + 1
                if size > FUNCTION_LINES_MAX:
                    yield f"{path}:{start}: a function of {size} lines, " \
                          f"{FUNCTION_LINES_MAX} is the most"
                start = None


def check_words(root, _build):
    endings = (".c", ".h", ".py", ".sh", ".md", ".yaml", ".json", "CMakeLists.txt", "run")
    for path in files_of(root, endings):
        for number, line in enumerate(lines_of(root, path), 1):
            match = UNFINISHED.search(line)
            if match:
                yield f"{path}:{number}: {match.group(1)} is left for later"


def symbols_of(objects, how):
    """Names from nm; versions such as memcpy@GLIBC are cut."""
    said = subprocess.run(["nm", how, "--format=just-symbols", *objects], check=True,
                          stdout=subprocess.PIPE, universal_newlines=True).stdout
    return {line.split("@")[0] for line in said.splitlines() if line and not line.endswith(":")}


def object_of(build, path):
    """Where CMake put the object of a source file, or None."""
    folder, name = os.path.split(path)
    base = os.path.join(build, folder, "CMakeFiles")
    for target in sorted(os.listdir(base)) if os.path.isdir(base) else []:
        found = os.path.join(base, target, name + ".o")
        if os.path.exists(found):
            return found
    return None


def check_purity(root, build):
    objects = {}
    for path in PURE:
        if not os.path.exists(os.path.join(root, path)):
            if path in PURE_MUST_EXIST:
                yield f"{path}:1: is missing"
            continue
        objects[path] = object_of(build, path)
        if objects[path] is None:
            yield f"{path}:1: has no object file below {build}"
    present = [o for o in objects.values() if o]
    ours = symbols_of(present, "--defined-only") if present else set()
    for path, found in objects.items():
        if found:
            allowed = PURE_IMPORTS + PURE[path]
            for name in sorted(symbols_of([found], "--undefined-only") - ours):
                if not any(fnmatch.fnmatchcase(name, a) for a in allowed):
                    yield f"{path}:1: is pure and may not use {name}"


CHECKS = {"includes": check_includes, "sizes": check_sizes, "words": check_words,
          "purity": check_purity}


def main(arguments):
    if len(arguments) not in (2, 3) or arguments[0] not in CHECKS:
        print(__doc__, file=sys.stderr)
        return 2
    if arguments[0] == "purity" and os.environ.get("ASSENT_INSTRUMENTED"):
        print("skipped: instrumented objects import the run-time of their instruments")
        return 77
    root = arguments[1]
    build = arguments[2] if len(arguments) == 3 else os.path.join(root, "build")
    complaints = list(CHECKS[arguments[0]](root, build))
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
