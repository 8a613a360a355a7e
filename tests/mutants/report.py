"""What the layers said (caught.txt) and the page made of it (docs/mutants.md)."""

import glob
import os
import re

import catalogue
import layers

RESULTS = os.path.join(catalogue.HERE, "caught.txt")
PAGE = os.path.join(catalogue.ROOT, "docs", "mutants.md")
HEAD = "# Written by ./run mutants: a fault, the digest of it, and what each layer said of it first.\n"

INTRODUCTION = """<!-- Written by ./run mutants: do not edit. -->
# Mutants

A test that has never failed proves little. So faults are put into the code on purpose, one at a time, each a line that
could have been written by mistake, and the tests must object. A *layer* is a kind of test; the table says which layers
catch which fault, first the one that is named for it. Without a fault every layer must be content.

```sh
./run mutants                # all, each before every layer that is for it; an hour or two
./run mutants NAME           # one
./run mutants --by model     # those that a layer must catch, before that layer alone
./run mutants --list         # names, and the layer that must catch each
```

The sources hold no fault: each stands in `tests/mutants/list.toml` as the piece of code that it replaces. A build
directory that is configured with `-DASSENT_MUTANT=NAME` compiles a copy that has it. The rules are those of
[protocol.md](protocol.md#the-rules).

"""

SURROUNDINGS = """## Around the state machines

The model checker tells the two drivers, the logs and the databases in a few lines of its own. Faults of theirs are put in
there (`model_check --faults`, the test `model.faults`), and the search notices each.

"""


class Result:
    def __init__(self, digest, caught):
        self.digest, self.caught = digest, caught


def read_results():
    results, current = {}, None
    if not os.path.exists(RESULTS):
        return results
    with open(RESULTS, encoding="utf-8") as file:
        for line in file:
            if line.startswith("  "):
                layer, _, words = line.strip().partition(": ")
                current.caught[layer] = words
            elif not line.startswith("#"):
                name, digest = line.split()
                current = results[name] = Result(digest, {})
    return results


def write_results(mutants, results):
    with open(RESULTS + ".new", "w", encoding="utf-8") as file:
        file.write(HEAD)
        for mutant in mutants:
            if mutant.name in results:
                result = results[mutant.name]
                file.write(f"{mutant.name} {result.digest}\n")
                file.writelines(f"  {layer}: {words}\n" for layer, words in result.caught.items())
    os.replace(RESULTS + ".new", RESULTS)


def ordered(mutant, result):
    """Layers that caught it, the named one first."""
    names = [layer.name for layer in layers.LAYERS if layer.name in result.caught]
    return sorted(names, key=lambda name: name != mutant.by)


def rules(mutant):
    return ", ".join(str(rule) for rule in mutant.rules)


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n\n"


def faults_of_model():
    """(name, what it is) of each fault in the model's own telling of the drivers."""
    for path in sorted(glob.glob(os.path.join(catalogue.ROOT, "tests", "model", "*.h"))):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        block = re.search(r"#define MODEL_MUTANT_LIST\(X\)(.*?[^\\])\n", text, re.S)
        if block:
            for name, what in re.findall(r"X\((\w+)\)\s*/\*(.*?)\*/", block.group(1), re.S):
                yield name, " ".join(what.replace("\\", " ").split())


def page(mutants, results):
    known = [(m, results[m.name]) for m in mutants if m.name in results]
    counts = {layer.name: sum(layer.name in r.caught for _, r in known) for layer in layers.LAYERS}
    text = INTRODUCTION
    quick = sum(m.by == "model" for m, _ in known)
    text += f"{len(known)} faults, each caught, {quick} of them by the model, which `./run test` repeats.\n\n"
    text += table(["fault", "file", "rule", "caught by"],
                  [[f"[{m.name}](#{m.name})", f"`{m.file}`", rules(m), ", ".join(ordered(m, r))]
                   for m, r in known])
    text += "## Layers\n\n"
    text += table(["layer", "what it is", "faults it caught"],
                  [[layer.name, layer.what, str(counts[layer.name])] for layer in layers.LAYERS
                   if counts[layer.name] > 0])
    text += SURROUNDINGS
    text += table(["fault", "what it is"], [[f"`{name}`", what] for name, what in faults_of_model()])
    text += "## The faults\n"
    for mutant, result in known:
        text += f"\n### {mutant.name}\n\n{mutant.what} In `{mutant.place}` of `{mutant.file}`:\n\n"
        text += f"```diff\n- {mutant.code}\n+ {mutant.fault}\n```\n\n"
        text += "".join(f"- {name}: {result.caught[name]}\n" for name in ordered(mutant, result))
    return text


def write_page(mutants, results):
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(page(mutants, results))


def complaints(mutants, results):
    """Where what was written and the list do not fit together."""
    known = [layer.name for layer in layers.LAYERS]
    for mutant in mutants:
        result = results.get(mutant.name)
        if mutant.by not in known:
            yield f"{mutant.name}: there is no layer {mutant.by}"
        elif result is None or result.digest != mutant.digest():
            yield f"{mutant.name}: has not been tried as it is: ./run mutants {mutant.name}"
        elif mutant.by not in result.caught:
            yield f"{mutant.name}: is not caught by {mutant.by}"
    with open(PAGE, encoding="utf-8") as file:
        if file.read() != page(mutants, results):
            yield "docs/mutants.md is not what the list gives: python3 tests/mutants/mutants.py write"
