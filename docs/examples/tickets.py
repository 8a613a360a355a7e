#!/usr/bin/env python3
"""A participant that is no database: it sells tickets, each once.

usage: tickets.py PORT DIRECTORY TICKETS

A branch reserves tickets: {"sql": "reserve", "params": [3]}. Prepared ones are held, committed ones are
sold. All that it promises is in DIRECTORY/log, one JSON object a line, forced before it is told."""

import http.server
import json
import os
import sys
import threading
import time
import urllib.request
import uuid


class Log:
    """Append-only. A line is there whole, or was never told to anybody."""

    def __init__(self, path):
        self.file = open(path, "a+b")
        self.file.seek(0)
        whole = self.file.read()
        whole = whole[:whole.rfind(b"\n") + 1]
        self.file.truncate(len(whole))  # a line that a crash cut short
        self.entries = [json.loads(line) for line in whole.splitlines()]
        os.fsync(self.file.fileno())

    def force(self, **entry):
        try:
            self.file.write(json.dumps(entry).encode() + b"\n")
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as error:  # nobody knows whether it is there: only a new start may look
            print(error, file=sys.stderr)
            os._exit(70)


class Tickets:
    def __init__(self, directory, count):
        os.makedirs(directory, exist_ok=True)
        self.lock = threading.Lock()
        self.free = count
        self.branches = {}  # gtid: {"state", "count", "coordinator"}
        self.coordinators = {}  # id: {"generation", "nonce", "url"}
        self.id = None
        self.log = Log(os.path.join(directory, "log"))
        for entry in self.log.entries:
            self.recall(entry)
        if self.id is None:
            self.record(participant=str(uuid.uuid4()))

    # ---- What the log says ----

    def record(self, **entry):
        self.log.force(**entry)
        self.recall(entry)

    def recall(self, entry):
        if "participant" in entry:
            self.id = entry["participant"]
        elif "generation" in entry:
            self.coordinators[entry["id"]] = entry
        else:
            old = self.branches.get(entry["gtid"], {"state": None, "count": 0})
            if entry["state"] in ("prepared", "committed") and old["state"] is None:
                self.free -= entry["count"]
            if entry["state"] == "aborted" and old["state"] == "prepared":
                self.free += old["count"]
            self.branches[entry["gtid"]] = {**old, **entry}

    # ---- Messages ----

    def hear(self, who):
        """None, or the generation that was seen when this one comes from an old copy of a log."""
        seen = self.coordinators.get(who["id"])
        if seen is None or who["generation"] > seen["generation"]:
            self.record(**who)
        elif who["generation"] < seen["generation"] or who["nonce"] != seen["nonce"]:
            return seen["generation"]
        return None

    def answer(self, who, message):
        try:
            uuid.UUID(message["gtid"])
        except ValueError:
            return {"error": "invalid_gtid"}
        branch = self.branches.get(message["gtid"])
        if branch and branch["coordinator"] != who["id"]:
            return {"error": "wrong_coordinator"}
        if message.get("participant_id", self.id) != self.id and (not branch or branch["state"] != "committed"):
            return {"error": "wrong_participant"}  # for a log that was here before
        return getattr(self, message["op"])(who, message, branch)

    def prepare(self, who, message, branch):
        note = {"gtid": message["gtid"], "coordinator": who["id"]}
        if branch:  # again
            if branch["state"] == "aborted":
                return {"vote": "no", "cause": {"code": "client_abort"}}
            return {"vote": "committed" if branch.get("one_phase") else "yes", "results": branch["results"]}
        count = sum(s["params"][0] for s in message["statements"])
        if count > self.free:
            if message.get("one_phase"):  # must not be done when it comes again
                self.record(state="aborted", **note)
            return {"vote": "no", "cause": {"code": "constraint", "detail": "sold out"}}
        note.update(count=count, results=[{"rows_affected": s["params"][0]} for s in message["statements"]])
        if message.get("one_phase"):
            self.record(state="committed", one_phase=True, **note)
            return {"vote": "committed", "results": note["results"]}
        self.record(state="prepared", **note)
        return {"vote": "yes", "results": note["results"]}

    def commit(self, who, message, branch):
        if branch is None:
            return {"state": "unknown"}  # no proof
        if branch["state"] == "aborted":
            return {"error": "protocol"}
        if branch["state"] == "prepared":
            self.record(gtid=message["gtid"], state="committed")
        return {"state": "committed"}

    def abort(self, who, message, branch):
        if branch is None or branch["state"] == "prepared":  # a tombstone, for a prepare that is late
            self.record(gtid=message["gtid"], state="aborted", coordinator=who["id"])
        return {"state": self.branches[message["gtid"]]["state"]}

    # ---- In doubt ----

    def in_doubt(self):
        return [g for g, b in self.branches.items() if b["state"] == "prepared"]

    def ask(self):
        """Ask the coordinators about what is in doubt, and do what they say."""
        with self.lock:
            questions = {}
            for gtid in self.in_doubt():
                questions.setdefault(self.branches[gtid]["coordinator"], []).append(gtid)
            about = {i: dict(self.coordinators[i]) for i in questions}
        for who, gtids in questions.items():
            url = about[who].pop("url") + "/v1/decisions"
            body = {"participant_id": self.id, "coordinator": about[who], "gtids": gtids}
            try:
                with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=5) as answer:
                    told = json.load(answer)
            except (OSError, ValueError):
                continue  # later
            if told["coordinator_id"] != who:
                continue  # another's "abort" means nothing
            with self.lock:
                for decision in told["decisions"]:
                    gtid, outcome = decision["gtid"], decision["outcome"]
                    if outcome != "undecided" and self.branches[gtid]["state"] == "prepared":
                        self.record(gtid=gtid, state={"commit": "committed", "abort": "aborted"}[outcome])

    def ask_for_ever(self):
        while True:
            self.ask()
            time.sleep(1)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    tickets = None

    def reply(self, value, kind="application/json"):
        body = value.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        tickets = self.tickets
        if self.path == "/readyz":
            self.reply("ok\n", "text/plain")
        elif self.path.startswith("/v1/branches"):
            with tickets.lock:
                items = [{"gtid": g, "state": "prepared", "age_ms": 0} for g in tickets.in_doubt()]
            self.reply(json.dumps({"items": items, "next_cursor": None}))
        else:
            self.send_error(404)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        tickets = self.tickets
        if self.path == "/v1/messages":
            self.reply(self.messages(body), "application/x-ndjson")
        elif self.path == "/v1/branches/lookup":
            with tickets.lock:
                items = [{"gtid": g, "state": tickets.branches.get(g, {"state": "unknown"})["state"]}
                         for g in body["gtids"]]
            self.reply(json.dumps({"participant_id": tickets.id, "items": items}))
        else:
            self.send_error(404)

    def messages(self, body):
        """Nothing here waits, so the lines may leave together."""
        lines = ""
        with self.tickets.lock:
            set_back = self.tickets.hear(body["coordinator"])
            for message in body["messages"]:
                if set_back is not None:
                    said = {"error": "log_set_back", "generation_seen": set_back}
                else:
                    said = self.tickets.answer(body["coordinator"], message)
                said.update(op=message["op"], gtid=message["gtid"], participant_id=self.tickets.id)
                lines += json.dumps(said) + "\n"
        return lines

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    Handler.tickets = Tickets(sys.argv[2], int(sys.argv[3]))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    threading.Thread(target=Handler.tickets.ask_for_ever, daemon=True).start()
    print(f"evt=daemon.ready url=http://127.0.0.1:{server.server_address[1]}", file=sys.stderr, flush=True)
    server.serve_forever()
