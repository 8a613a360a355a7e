"""Faults put into the product on purpose, to see that the tests object to each.

usage: mutants.py run [--build DIR] [--by LAYER] [--only LAYER]... [--dry] [NAME...]
         show the faults (NAME..., or all) to their layers, each of which must be content without a
         fault; write caught.txt and docs/mutants.md, unless --dry. --by: those that LAYER is named
         for, to it alone. --only: to these layers alone, and keep what others said before. Status 0:
         each was objected to by the layer that is named for it
       mutants.py check     the list fits the sources, and what was written fits the list
       mutants.py write     docs/mutants.md from the list and caught.txt
       mutants.py list      names, and the layer that each is to be caught by
       mutants.py plant NAME BUILD
         put copies of the sources in question, one of them with the fault, into BUILD/mutants, and
         name them"""

import argparse
import json
import os
import subprocess
import sys
import time

import catalogue
import layers
import report


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def quietly(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          encoding="utf-8", errors="replace")
    if done.returncode != 0:
        raise catalogue.Broken(f"{' '.join(command)}:\n{done.stdout[-4000:]}")


class Bench:
    """A build directory in which one fault after the other is compiled."""

    def __init__(self, build):
        self.build = build
        self.sound = {}
        quietly(["cmake", "-S", catalogue.ROOT, "-B", build, "-G", "Ninja",
                 "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DBUILD_TESTING=ON", "-DASSENT_WERROR=OFF",
                 "-DASSENT_MUTANT=" + catalogue.NO_FAULT])

    def show(self, name, layer, case=None):
        """What @layer objects to in the fault @name; None: nothing."""
        catalogue.plant(name, os.path.join(self.build, "mutants"))
        quietly(["cmake", "--build", self.build, "--target", *layers.targets(self.build, layer)])
        return layers.objection(self.build, layer, case)

    def insist_sound(self, layer, case):
        """Without a fault it must be content, or its objections would mean nothing."""
        which = (layer.name, case if layer.server else None)
        if which not in self.sound:
            say(f"mutants: {layer.name} without a fault")
            self.sound[which] = self.show(catalogue.NO_FAULT, layer, case)
        if self.sound[which] is not None:
            raise catalogue.Broken(f"{layer.name} objects to the code without a fault: "
                                   f"{self.sound[which]}")


def show_all(bench, mutant, wanted):
    """{layer: what it said first, or None}"""
    said = {}
    for layer in layers.LAYERS:
        if not layer.is_for(mutant) or (wanted and layer.name not in wanted):
            continue
        bench.insist_sound(layer, mutant.case)
        began = time.monotonic()
        words = bench.show(mutant.name, layer, mutant.case)
        say(f"mutants: {mutant.name}: {layer.name} {time.monotonic() - began:.1f} s: "
            f"{words or 'no objection'}")
        said[layer.name] = words
    return said


def judge(mutant, before, said):
    """The new result: layers that were not asked now keep their word on the same fault."""
    kept = before.caught if before is not None and before.digest == mutant.digest() else {}
    caught = {layer: words for layer, words in kept.items() if layer not in said}
    caught.update({layer: words for layer, words in said.items() if words is not None})
    return report.Result(mutant.digest(), caught)


def run(arguments):
    mutants = catalogue.read()
    unknown = set(arguments.names) - {m.name for m in mutants}
    if unknown:
        raise catalogue.Broken(f"there is no fault {', '.join(sorted(unknown))}")
    chosen = [m for m in mutants
              if (not arguments.names or m.name in arguments.names)
              and (not arguments.by or m.by == arguments.by)]
    wanted = arguments.only or ([arguments.by] if arguments.by else [])
    missed = []
    bench = Bench(os.path.abspath(arguments.build))
    for mutant in chosen:
        said = show_all(bench, mutant, wanted)
        results = report.read_results()  # there may be another bench at work
        result = results[mutant.name] = judge(mutant, results.get(mutant.name), said)
        caught = report.ordered(mutant, result)
        good = mutant.by in caught
        missed += [] if good else [mutant.name]
        print(f"{mutant.name:32} {', '.join(caught) or '-'}{'' if good else '   NOT BY ' + mutant.by}",
              flush=True)
        if not arguments.dry:
            report.write_results(catalogue.read(), results)
    catalogue.plant(catalogue.NO_FAULT, os.path.join(bench.build, "mutants"))
    if not arguments.dry:
        report.write_page(catalogue.read(), report.read_results())
    print(f"{len(chosen) - len(missed)} of {len(chosen)} faults are caught as they must be")
    return 1 if missed else 0


def preset_complaints():
    """No ordinary build has a fault in it."""
    with open(os.path.join(catalogue.ROOT, "CMakePresets.json"), encoding="utf-8") as file:
        text = file.read()
    for preset in json.loads(text)["configurePresets"]:
        if any("MUTANT" in name for name in preset.get("cacheVariables", {})):
            yield f"the preset {preset['name']} asks for a fault"


def check():
    mutants = catalogue.read()
    said = list(catalogue.complaints(mutants)) + list(preset_complaints())
    said += report.complaints(mutants, report.read_results())
    for words in said:
        print(words)
    return 1 if said else 0


def main(words):
    parser = argparse.ArgumentParser(usage=__doc__)
    inner = parser.add_subparsers(dest="word", required=True)
    runner = inner.add_parser("run", usage=__doc__)
    runner.add_argument("--build", default=os.path.join(catalogue.ROOT, "build", "mutants"))
    runner.add_argument("--by", choices=[layer.name for layer in layers.LAYERS])
    runner.add_argument("--only", action="append", choices=[layer.name for layer in layers.LAYERS])
    runner.add_argument("--dry", action="store_true")
    runner.add_argument("names", nargs="*")
    for word in ("check", "write", "list"):
        inner.add_parser(word)
    planter = inner.add_parser("plant")
    planter.add_argument("name")
    planter.add_argument("build")
    arguments = parser.parse_args(words)
    if arguments.word == "run":
        return run(arguments)
    if arguments.word == "check":
        return check()
    if arguments.word == "plant":
        catalogue.plant(arguments.name, os.path.join(arguments.build, "mutants"))
        print("\n".join(sorted({m.file for m in catalogue.read()})))
    elif arguments.word == "list":
        for mutant in catalogue.read():
            print(mutant.name, mutant.by)
    else:
        report.write_page(catalogue.read(), report.read_results())
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except catalogue.Broken as broken:
        say(f"mutants: {broken}")
        sys.exit(1)
