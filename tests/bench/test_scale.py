"""Scale and overload, in short: ratios within one run, and never an absolute time.

  test_scale.py BIN_DIR TESTS_DIR [NAME…]
"""
import os
import re
import resource
import signal
import sqlite3
import sys
import time
import urllib.request

from scale_world import World, get, in_flight, wait_for


def read_seconds(path):
    """CPU time of SQLite alone to check the pages of a log and to read its records."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    database.execute("SELECT count(gtid), sum(length(data)) FROM record").fetchone()
    database.close()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def make_log(world, directory, role, ended, unfinished):
    process = world.start([f"{world.tests_dir}/scale_log", directory, role, str(ended),
                           str(unfinished)])
    assert process.process.wait() == 0


def list_all(url, query=""):
    """The ids of all pages of the list."""
    ids, cursor = [], ""
    while cursor is not None:
        page = get(f"{url}/v1/transactions?limit=1000{query}" +
                   (f"&cursor={cursor}" if cursor else ""))
        ids += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    return ids


def retained(coordinator):
    with urllib.request.urlopen(coordinator.url + "/metrics", timeout=30) as answer:
        return int(re.search(r"^assent_transactions_retained (\d+)", answer.read().decode(),
                             re.MULTILINE)[1])


def restart_of_a_long_log(world):
    """What has ended costs little time and memory at the start."""
    make_log(world, world.path("coordinator"), "coordinator", 200000, 2000)
    alone = read_seconds(world.path("coordinator/log.db"))
    coordinator = world.coordinator()
    took, memory = coordinator.cpu_seconds(), coordinator.memory_bytes()
    print(f"restart: {took / alone:.1f} x SQLite's own reading, {memory / 200000:.0f} bytes each")
    assert took < 8 * alone
    assert memory < 400 * 200000
    assert in_flight(coordinator) == 2000


def what_ended_is_known_after_a_restart(world):
    """By its id and in the list, as before; the oldest are dropped first."""
    world.peers(["east", "west"])
    coordinator = world.coordinator()
    done = world.result(world.load(coordinator, 1, [["east", "west"], ["east"]], connections=4))
    wait_for(lambda: in_flight(coordinator) == 0)
    ids = list_all(coordinator.url)
    assert len(ids) == done["statuses"]["201"] and ids == sorted(set(ids), reverse=True)
    some = [ids[i * (len(ids) - 1) // 20] for i in range(21)]
    before = [get(f"{coordinator.url}/v1/transactions/{id}") for id in some]
    coordinator.stop()

    coordinator = world.coordinator()
    logged = list_all(coordinator.url)
    assert logged == [id for id in ids if id in set(logged)]
    assert logged == list_all(coordinator.url, "&participant=east")
    for view in before:
        if view["id"] not in logged:
            assert len(view["branches"]) == 1  # one-phase: its end is written lazily
            continue
        after = get(f"{coordinator.url}/v1/transactions/{view['id']}")
        for branch in view["branches"]:
            branch.pop("results", None)
        view["took_ms"] = after["took_ms"] = None
        assert after == view, (after, view)
    assert list_all(coordinator.url) == logged
    coordinator.stop()

    coordinator = world.coordinator("--retained-max", "10")
    wait_for(lambda: list_all(coordinator.url) == logged[:10])


def a_participant_that_hangs(world):
    """Others go on as before; who wants it is refused early and told when to come again."""
    world.peers(["east", "west"])
    hanging = world.peers(["north"])
    coordinator = world.coordinator("--transactions-max", "600")
    before = world.result(world.load(coordinator, 2, [["east", "west"]], connections=8))
    hanging.signal(signal.SIGSTOP)
    stuck = world.load(coordinator, 8, [["east", "north"]], connections=4, wait=False, rate=400,
                       timeout_ms=6000)
    wait_for(lambda: in_flight(coordinator) >= 600)
    during = world.result(world.load(coordinator, 2, [["east", "west"]], connections=8))
    hanging.signal(signal.SIGCONT)
    refused = world.result(stuck)
    print(f"hangs: others before {before['per_second']}/s, during {during['per_second']}/s; "
          f"{refused['statuses']}")
    assert list(during["statuses"]) == ["201"], during
    assert refused["statuses"]["503"] == refused["retry_after"] > 0
    wait_for(lambda: in_flight(coordinator) == 0)


def a_participant_that_crawls(world):
    """Four times what it can do: what is accepted ends in time, and it is never idle."""
    rate, seconds = 50, 12
    world.peers(["south"], rate=rate)
    coordinator = world.coordinator()
    done = world.result(world.load(coordinator, seconds, [["south"]], connections=800,
                                   rate=4 * rate, timeout_ms=4000))
    statuses = done["statuses"]
    print(f"crawls: {done['per_second']}/s of {rate}/s, {statuses}")
    assert statuses["201"] > 0.7 * rate * seconds
    assert statuses.get("409", 0) < 0.2 * statuses["201"]
    assert statuses["503"] == done["retry_after"] > statuses["201"]


def transactions_are_small(world):
    """2 KiB and its statements, for one that waits for its participants."""
    world.peers(["east", "west"], delay_ms=60000)
    coordinator = world.coordinator()
    before = coordinator.memory_bytes()
    load = world.load(coordinator, 1, [["east", "west"]], connections=20, wait=False, rate=4000,
                      timeout_ms=120000)
    count = world.result(load)["statuses"]["202"]
    each = (coordinator.memory_bytes() - before) / count
    print(f"in flight: {count}, {each:.0f} bytes each")
    assert in_flight(coordinator) == count and each < 2048 + 400


def many_participants(world):
    """32 in one transaction, and each of them with others."""
    names = [f"p{i}" for i in range(32)]
    world.peers(names)
    coordinator = world.coordinator()
    groups = [names] + [[name, names[i - 1]] for i, name in enumerate(names)]
    done = world.result(world.load(coordinator, 2, groups, connections=32))
    print(f"32 participants: {done['per_second']}/s")
    assert list(done["statuses"]) == ["201"], done


def erasing_does_not_pause(world):
    """What ended long ago is erased in small steps, while others commit."""
    make_log(world, world.path("coordinator"), "coordinator", 100000, 0)
    world.peers(["east", "west"])
    coordinator = world.coordinator("--retained-max", "1")
    began, first = time.monotonic(), retained(coordinator)
    load = world.load(coordinator, 3, [["east", "west"]], connections=8)
    done = world.result(load)
    erased = first - retained(coordinator)
    took = time.monotonic() - began
    print(f"erasing: {erased / took:.0f}/s beside {done['per_second']}/s, ms {done['ms']}")
    assert list(done["statuses"]) == ["201"]
    # A hundred each 5 ms at most: whatever the machine, no group of the log has more to do.
    assert 0 < erased <= 20000 * took + 1000
    wait_for(lambda: retained(coordinator) <= 1)


TESTS = [transactions_are_small, many_participants, erasing_does_not_pause, restart_of_a_long_log,
         what_ended_is_known_after_a_restart, a_participant_that_hangs, a_participant_that_crawls]


def main():
    os.environ.setdefault("ASSENT_LOG_LEVEL", "info")
    names = sys.argv[3:]
    for test in TESTS:
        if names and test.__name__ not in names:
            continue
        with World(sys.argv[1], sys.argv[2]) as world:
            test(world)
        print(f"ok {test.__name__}")


if __name__ == "__main__":
    main()
