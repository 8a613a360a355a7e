"""The page about speed, docs/performance.md and its picture, from what tests/bench/bench.py measured."""

import math
import statistics

HEAD = """# Performance

How fast it is, beside the least that anybody could do on the same databases: every figure here is a median of {rounds} runs
that took turns in one session on one machine, and every claim is a ratio of two of them. Machines differ far more than
programs; `./run bench` measures yours and writes this page, [bench](bench.md) says how to put a load on a system of your own.

Measured {date}: {machine}.

"""
TARGETS = """## Targets

| what | target | is | |
| --- | --- | --- | --- |
"""
RUNS = """
## All runs

Transactions a second, latency in milliseconds, processor time in microseconds a transaction; in brackets the slowest and the
fastest of the {rounds} runs. *Forced* are forced writes of the coordinator a transaction, *requests* its HTTP requests to
participants.

| | clients | tx/s | p50 | p99 | coordinator | each participant | server | load | forced | requests |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""
TAIL = """
## What is measured

- **transfer**: a row updated at each of two participants, {accounts} accounts each, all processes on the one machine, the load
  too. The answer comes when both databases have applied it, unless it says *decided*. With a rate (*100/s*) so many begin
  each second, whatever becomes of them, and latency counts from when one was to begin: without, clients that are told sooner
  ask sooner, and load the databases more. *overload*: more begin than can be done, 500 may be in flight, all others are
  refused with 503; tx/s and latency are of those that were accepted.
- **limit-pg** (`tests/bench/limit_pg.c`): the least that any coordinator must do for the same transfers at the same two
  PostgreSQL databases. BEGIN, UPDATE and PREPARE TRANSACTION in one pipeline at both, one forced write of the decision shared
  by all that wait, COMMIT PREPARED at both. It keeps nothing else, answers nobody, and recovers from nothing.
- **sqlite-attach** (`tests/bench/sqlite_attach.c`): one process that has both SQLite files attached and changes them in one
  transaction. With the journal mode `delete` that is atomic across the files, with `wal` it is not when the machine fails.
- **noop**: two participants that vote yes and keep nothing: the coordinator alone.
- **hot**: transfers among ten accounts. **wide**: a row at each of eight participants. **read**: a SELECT at each of two.

## Where the time goes

What profiles (`perf`) show of the targets that are missed, or nearly:

- **transfer, PostgreSQL, 64 clients.** The server works about as long for a transfer as it does for limit-pg, and two cores
  are the limit of both. limit-pg's own loop takes a seventh of the server's time; coordinator and agents together take two
  thirds. Of the coordinator's part, requests to the agents and their answers are 41 % (reading the answers 14 %), forced
  groups of the log 23 % (half of it `fdatasync`), clients' requests 17 %. Of an agent's, forced groups of prepared records are
  25 %, requests from the coordinator 24 %, sending to the server 17 %, reading from it 7 %. A force costs 0.3 ms of processor
  time however many records share it: that is why ends, requests and records gather where many are under way, up to 20 ms. At a
  thousand transactions a second that makes groups of about twelve and two transactions a request, just beyond the targets for
  forced writes and requests.
- **transfer, PostgreSQL, 1 client.** limit-pg waits for three things in turn, the server twice and its own file. A transfer
  waits for a fourth, the record that agents force of what they have prepared, and for six messages between processes, of which
  each wakes another one up. Nothing gathers here.
- **noop, 256 clients.** One thread does all but the log and has one core to itself. Clients' requests take 33 % (each costs a
  send, two receives, and two changes of what is waited for: most of it is system calls), answers of participants 25 %, the log's
  thread 19 %; of all these, 7 % is JSON and a fifth the allocation of memory. No single one is large; more would take a second
  thread for clients.
- **4,096 in flight.** The shares are nearly those of 256, and each costs more, JSON and looking up transactions most: most
  likely what is in use no longer fits the processor's cache, which was not measured.
- **Restart with 1,000,000 ended transactions** (`tests/bench/scale.py`): a thread reads the records ahead, a second one walks the
  pages, and the third makes anew what is kept of each. In turns with the time when one thread read and made, the coordinator
  takes 0.76 and the agent 0.84 of what it took: 1.5 and 2.5 seconds here, where 2 are wanted. The agent's log has two records of
  each, and what it keeps of them is a table in which nearly every look goes to memory.

After every run the accounts were added up: no money was made or lost, and each participant held what clients were told.
"""


def median(runs, pick):
    values = [pick(run) for run in runs]
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def per_second(run):
    return run["committed_per_s"]


def latency(name):
    return lambda run: run["latency_ms"][name]


def cpu(*names):
    """Of the processes of these names, the mean of those that are there."""
    def pick(run):
        found = [p["cpu_us"] for p in run.get("processes", ()) if p["name"] in names]
        return sum(found) / len(found) if found else None
    return pick


def coordinator(member):
    return lambda run: run["coordinator"][member] if "coordinator" in run else None


MEMBERS = ("east", "west", "north", "south", "upper", "lower", "inner", "outer", "participants")


class Figures:
    """Medians by what was run: ("transfer pg", 64)."""

    def __init__(self, results):
        self.runs = {(row["what"], row["clients"]): row["runs"] for row in results["rows"]}

    def of(self, what, clients, pick):
        runs = self.runs.get((what, clients))
        return median(runs, pick) if runs else None

    def best(self, what):
        values = [median(runs, per_second) for (name, _), runs in self.runs.items() if name == what]
        return max(values) if values else None

    def worst(self, whats, clients, pick):
        values = [self.of(what, clients, pick) for what in whats]
        return max((value for value in values if value is not None), default=None)


def ratio(above, below):
    return above / below if above is not None and below else None


def targets(results):
    """(what, target in words, value, met, unit); a value of None was not measured."""
    f = Figures(results)
    two = ("transfer postgresql", "transfer sqlite")

    def least(what, bound, value, unit="×"):
        return what, "≥ %s" % shown(bound, unit), value, value is not None and value >= bound, unit

    def most(what, bound, value, unit="×"):
        return what, "≤ %s" % shown(bound, unit), value, value is not None and value <= bound, unit

    flat = [f.of("noop", clients, cpu("coordinator")) for clients in (256, 1024, 4096)]
    flat = [value for value in flat if value]
    starved = f.worst(("hot",), 64, lambda run: run["aborted"] + run["late"])
    return [
        least("transfer, PostgreSQL, 64 clients, to limit-pg at its best", 0.8,
              ratio(f.of(two[0], 64, per_second), f.best("limit-pg"))),
        most("transfer, PostgreSQL, 1 client, p50 to limit-pg's", 2.5,
             ratio(f.of(two[0], 1, latency("p50")), f.of("limit-pg", 1, latency("p50")))),
        least("transfer, SQLite, 64 clients, to sqlite-attach delete", 6,
              ratio(f.of(two[1], 64, per_second), f.of("sqlite-attach delete", 1, per_second))),
        least("transfer, SQLite, 64 clients, to sqlite-attach wal", 1,
              ratio(f.of(two[1], 64, per_second), f.of("sqlite-attach wal", 1, per_second))),
        least("noop, 256 clients", 20000, f.of("noop", 256, per_second), "tx/s"),
        most("noop, 256 clients, processor time of the coordinator", 60,
             f.of("noop", 256, cpu("coordinator")), "µs"),
        most("transfer, SQLite, 100 a second, decided: p50 to applied", 0.7,
             ratio(f.of("transfer sqlite 100/s decided", 64, latency("p50")),
                   f.of("transfer sqlite 100/s", 64, latency("p50")))),
        most("forced writes a transaction at the coordinator, 64 clients", 0.1,
             f.worst(two, 64, coordinator("forced_writes")), ""),
        most("requests a transaction to participants, 64 clients", 0.5,
             f.worst(two, 64, coordinator("requests")), ""),
        least("hot, 64 clients, to 1 client on the same rows", 0.5,
              ratio(f.of("hot", 64, per_second), f.of("hot", 1, per_second))),
        most("hot, 64 clients: transactions that did not come through", 0, starved, ""),
        most("processor time of the coordinator, 256 to 4096 in flight: greatest to least", 1.2,
             max(flat) / min(flat) if len(flat) == 3 else None),
    ]


def shown(value, unit):
    if value is None:
        return "not measured"
    digits = 0 if value >= 100 or value == int(value) else 2
    text = "{:,.{}f}".format(value, digits)
    return text + (" " + unit if unit not in ("", "×") else unit)


def verdict(value, met):
    return "not measured" if value is None else "met" if met else "missed"


def cell(value, digits=0):
    return "" if value is None else "{:,.{}f}".format(value, digits)


def run_row(row):
    runs = row["runs"]
    speeds = [per_second(run) for run in runs]
    f = {"coordinator": cpu("coordinator"), "each": cpu(*MEMBERS), "server": cpu("server"),
         "load": lambda run: run.get("cpu_us", cpu("bench")(run))}
    return "| %s | %d | %s [%s–%s] | %s | %s | %s | %s | %s | %s | %s | %s |\n" % (
        row["what"], row["clients"], cell(median(runs, per_second)), cell(min(speeds)),
        cell(max(speeds)), cell(median(runs, latency("p50")), 2), cell(median(runs, latency("p99")), 2),
        *(cell(median(runs, pick)) for pick in f.values()),
        cell(median(runs, coordinator("forced_writes")), 3),
        cell(median(runs, coordinator("requests")), 3))


def page(results):
    rounds = results["rounds"]
    text = HEAD.format(rounds=rounds, date=results["date"], machine=results["machine"]) + TARGETS
    for what, target, value, met, unit in targets(results):
        text += "| %s | %s | %s | %s |\n" % (what, target, shown(value, unit), verdict(value, met))
    text += "\n![transactions a second and p50 against clients](performance.svg)\n"
    text += RUNS.format(rounds=rounds)
    text += "".join(run_row(row) for row in results["rows"])
    return text + TAIL.format(accounts="{:,}".format(results["accounts"]))


# ---- The picture: two panels, both axes logarithmic ----

COLOURS = {"transfer postgresql": "#2563a8", "limit-pg": "#8ab4dd", "transfer sqlite": "#b4531a",
           "noop": "#4d7a2c"}
WIDTH, HEIGHT, LEFT, TOP, PANEL_WIDTH, PANEL_HEIGHT = 860, 400, 70, 40, 310, 280
GAP = 90


def decades(values):
    low, high = min(values), max(values)
    return math.floor(math.log10(low)), max(math.ceil(math.log10(high)), math.floor(math.log10(low)) + 1)


def panel(rows, pick, title, left):
    points = {}
    for row in rows:
        value = median(row["runs"], pick)
        if row["what"] in COLOURS and value:
            points.setdefault(row["what"], []).append((row["clients"], value))
    xs = sorted({x for line in points.values() for x, _ in line})
    low, high = decades([y for line in points.values() for _, y in line])
    span = math.log2(xs[-1] / xs[0]) or 1

    def at(x, y):
        return (left + PANEL_WIDTH * math.log2(x / xs[0]) / span,
                TOP + PANEL_HEIGHT * (1 - (math.log10(y) - low) / (high - low)))

    out = ['<text x="%d" y="%d" font-weight="bold">%s</text>' % (left, TOP - 14, title)]
    for exponent in range(low, high + 1):
        y = at(xs[0], 10 ** exponent)[1]
        out.append('<path d="M%.1f %.1fH%.1f" stroke="#ddd"/>' % (left, y, left + PANEL_WIDTH))
        out.append('<text x="%.1f" y="%.1f" text-anchor="end">%s</text>'
                   % (left - 6, y + 4, "{:,g}".format(10 ** exponent)))
    for x in xs:
        out.append('<text x="%.1f" y="%.1f" text-anchor="middle">%d</text>'
                   % (at(x, 10 ** low)[0], TOP + PANEL_HEIGHT + 18, x))
    for name, line in points.items():
        places = [at(x, y) for x, y in sorted(line)]
        path = "M" + "L".join("%.1f %.1f" % place for place in places)
        out.append('<path d="%s" fill="none" stroke="%s" stroke-width="2"/>' % (path, COLOURS[name]))
        out += ['<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (*place, COLOURS[name])
                for place in places]
    return out


def picture(results):
    rows = results["rows"]
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif"'
           ' font-size="12">' % (WIDTH, HEIGHT), '<rect width="100%" height="100%" fill="#fff"/>']
    out += panel(rows, per_second, "transactions a second against clients", LEFT)
    out += panel(rows, latency("p50"), "p50 in ms against clients", LEFT + PANEL_WIDTH + GAP)
    for i, (name, colour) in enumerate(COLOURS.items()):
        x = LEFT + i * 180
        out.append('<rect x="%d" y="%d" width="12" height="12" fill="%s"/>' % (x, HEIGHT - 34, colour))
        out.append('<text x="%d" y="%d">%s</text>' % (x + 18, HEIGHT - 24, name))
    return "\n".join(out + ["</svg>", ""])
