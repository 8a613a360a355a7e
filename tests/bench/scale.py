"""Scale and overload at full size, some minutes: each target as met or missed.

  scale.py BIN_DIR TESTS_DIR [NAME…]
"""
import signal
import statistics
import subprocess
import sys
import time

from scale_world import World, in_flight, wait_for
from test_scale import make_log

ENDED, UNFINISHED = 1000000, 10000


def report(what, value, unit, limit):
    print(f"{'met   ' if value <= limit else 'missed'} {what}: {value:.2f} {unit} (at most {limit})",
          flush=True)


def restart_coordinator(world):
    make_log(world, world.path("coordinator"), "coordinator", ENDED, UNFINISHED)
    began = time.monotonic()
    coordinator = world.coordinator()
    took = time.monotonic() - began
    assert in_flight(coordinator) == UNFINISHED
    report("restart of the coordinator, 1,000,000 ended, 10,000 unfinished", took, "s", 2)
    print(f"       its CPU time: {coordinator.cpu_seconds():.2f} s, "
          f"memory: {coordinator.memory_bytes() / ENDED:.0f} bytes each")


def restart_agent(world):
    make_log(world, world.path("agent"), "participant", ENDED, 0)
    subprocess.run(["sqlite3", world.path("east.db"), "CREATE TABLE t(id INTEGER PRIMARY KEY)"],
                   check=True)
    began = time.monotonic()
    agent = world.start([f"{world.bin_dir}/assent-agent", f"sqlite:{world.path('east.db')}",
                         "--name", "east", "--listen", "127.0.0.1:0", "--adopt", "--data",
                         world.path("agent")], "agent")
    world.ready(agent, "agent")
    report("restart of an agent, 1,000,000 ended", time.monotonic() - began, "s", 2)
    print(f"       its CPU time: {agent.cpu_seconds():.2f} s, "
          f"memory: {agent.memory_bytes() / ENDED:.0f} bytes each")


def memory_in_flight(world):
    world.peers(["east", "west"], delay_ms=120000)
    coordinator = world.coordinator()
    before = coordinator.memory_bytes()
    done = world.result(world.load(coordinator, 60, [["east", "west"]], connections=50, wait=False,
                                   rate=170, timeout_ms=600000))
    count = done["statuses"]["202"]
    report(f"memory of each of {count} in flight, its statements included",
           (coordinator.memory_bytes() - before) / count, "bytes", 2048 + 400)


def cpu_each(world, delay_ms, rate=500, seconds=20):
    """At one rate, with as many in flight as the delay says."""
    name = f"slow{delay_ms}"
    world.participants = {}
    world.peers([name, name + "b"], delay_ms=delay_ms)
    coordinator = world.coordinator(name="coordinator-" + name)
    load = world.load(coordinator, delay_ms / 1000 + seconds, [[name, name + "b"]], rate=rate,
                      wait=False, timeout_ms=60000)
    time.sleep(delay_ms / 1000 + seconds / 4)
    before, began = coordinator.cpu_seconds(), time.monotonic()
    time.sleep(seconds / 2)
    used = (coordinator.cpu_seconds() - before) / (time.monotonic() - began) / rate
    print(f"       {in_flight(coordinator)} in flight: {used * 1e6:.0f} us each", flush=True)
    world.result(load)
    coordinator.stop()
    return used


def cpu_by_in_flight(world):
    few, many = cpu_each(world, 20), cpu_each(world, 19000)
    report("CPU of a transaction, nearly 10,000 in flight against 10", many / few, "x", 1.2)


def hanging(world):
    """Others under the same load before a participant hangs, and while it does."""
    world.peers(["east", "west"])
    north = world.peers(["north"])
    coordinator = world.coordinator()

    def others(name, seconds):
        beside = world.load(coordinator, seconds + 25, [["east", "north"]], connections=400,
                            rate=300)
        time.sleep(15)  # until what can be in flight with it is
        p99s = []
        for _ in range(3):
            done = world.result(world.load(coordinator, seconds / 3, [["east", "west"]], rate=300))
            print(f"       others {name}: {done['ms']}", flush=True)
            p99s.append(done["ms"]["p99"])
        return beside, statistics.median(p99s)

    beside, before = others("before", 24)
    world.result(beside)
    north.signal(signal.SIGSTOP)
    stuck, during = others("during", 24)
    north.signal(signal.SIGCONT)
    print(f"       who wants the one that hangs: {world.result(stuck)['statuses']}")
    report("p99 of others while a participant hangs", during / before, "x", 1.2)
    wait_for(lambda: in_flight(coordinator) == 0)


MEASURES = [restart_coordinator, restart_agent, memory_in_flight, cpu_by_in_flight, hanging]


def main():
    for measure in MEASURES:
        if not sys.argv[3:] or measure.__name__ in sys.argv[3:]:
            with World(sys.argv[1], sys.argv[2]) as world:
                measure(world)


if __name__ == "__main__":
    main()
