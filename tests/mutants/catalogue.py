"""The faults of list.toml: reading them, and putting one of them into a copy of its source.

A fault replaces a piece of code, no more than a line, in one function (or table) of one file of
the product. The sources themselves never hold a fault: a build that is configured with
ASSENT_MUTANT compiles copies (mutant.cmake)."""

import hashlib
import os
import re
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LIST = os.path.join(HERE, "list.toml")
NO_FAULT = "none"
MEMBERS = {"name", "file", "in", "code", "fault", "what", "rules", "by"}
OPTIONAL = {"case"}
FAULT_MAX = 140  # characters: a line, when clang-format has been over it


class Broken(Exception):
    """The list does not fit the sources, or itself; str() says how."""


class Mutant:
    def __init__(self, entry):
        lacking, surplus = MEMBERS - set(entry), set(entry) - MEMBERS - OPTIONAL
        if lacking or surplus:
            raise Broken(f"{entry.get('name', '?')}: lacks {sorted(lacking)}, and nothing is known "
                         f"of {sorted(surplus)}")
        self.name, self.file, self.place = entry["name"], entry["file"], entry["in"]
        self.code, self.fault, self.what = entry["code"], entry["fault"], entry["what"]
        self.rules, self.by = entry["rules"], entry["by"]
        self.case = entry.get("case")

    def digest(self):
        """Changes whenever the fault does, wherever it stands."""
        words = " ".join(self.code.split()) + "\0" + self.fault
        return hashlib.sha256(words.encode()).hexdigest()[:12]

    def put_into(self, text):
        """@text, its file, with the fault in it."""
        start, end = extent(text, self.place)
        if start is None:
            raise Broken(f"{self.name}: {self.file} has no function or table {self.place}")
        pattern = r"\s+".join(re.escape(word) for word in self.code.split())
        found = list(re.finditer(pattern, text[start:end]))
        if len(found) != 1:
            raise Broken(f"{self.name}: {self.place} of {self.file} has this {len(found)} times and "
                         f"not once: {self.code}")
        at, to = start + found[0].start(), start + found[0].end()
        return text[:at] + self.fault + text[to:]


def extent(text, name):
    """Where the definition of a function or a table, or an outer [element] of one, begins and ends;
    (None, None): nowhere."""
    pattern = r"^" + re.escape(name) if name[0] == "[" else r"^\w.*\b" + re.escape(name) + r"[\[(]"
    for head in re.finditer(pattern, text, re.M):
        opened = re.search(r"[{;]", text[head.end():])
        if opened and opened.group() == "{":
            end = text.find("\n}", head.end())
            return head.start(), end if end >= 0 else len(text)
    return None, None


def read(path=LIST):
    with open(path, "rb") as file:
        mutants = [Mutant(entry) for entry in tomllib.load(file)["mutant"]]
    names = [m.name for m in mutants]
    for name in names:
        if names.count(name) > 1 or not re.fullmatch(r"[a-z0-9_]+", name) or name == NO_FAULT:
            raise Broken(f"{name}: is no name, or there are two of it")
    return mutants


def source(file, root=ROOT):
    with open(os.path.join(root, file), encoding="utf-8") as opened:
        return opened.read()


def complaints(mutants, root=ROOT):
    """What is wrong with the list."""
    for mutant in mutants:
        if not os.path.exists(os.path.join(root, mutant.file)):
            yield f"{mutant.name}: there is no {mutant.file}"
            continue
        if len(mutant.fault) > FAULT_MAX or "\n" in mutant.fault:
            yield f"{mutant.name}: is more than a line"
        try:
            mutant.put_into(source(mutant.file, root))
        except Broken as broken:
            yield str(broken)


def write_if_new(path, text):
    """So that what has not changed is not compiled again."""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def plant(name, folder):
    """Copy every file that has a fault in the list to @folder, one of them with the fault @name."""
    mutants = read()
    chosen = [m for m in mutants if m.name == name]
    if name != NO_FAULT and not chosen:
        raise Broken(f"{name}: is no fault of {LIST}")
    for file in sorted({m.file for m in mutants}):
        text = source(file)
        if chosen and chosen[0].file == file:
            text = chosen[0].put_into(text)
        write_if_new(os.path.join(folder, file), text)
