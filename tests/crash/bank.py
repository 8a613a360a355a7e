#!/usr/bin/env python3
"""A participant around an SQLite file: one branch at a time, and if wanted with a flaw.

usage: bank.py PORT DATABASE FLAW

FLAW is `none`, or what it does wrong: `forget` (promises are not in the file, and what it does not know
it takes for committed), `twice` (a repeated commit is done again), `early` (a branch is applied before it
is decided). The tables are there already. Branches that only read are served beside the one."""

import http.server
import json
import sqlite3
import sys
import threading
import time
import urllib.request
import uuid

TABLES = """
CREATE TABLE IF NOT EXISTS bank_self(id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS bank_coordinators(id TEXT PRIMARY KEY, about TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS bank_branches(gtid TEXT PRIMARY KEY, coordinator TEXT NOT NULL, state TEXT NOT NULL,
 statements TEXT NOT NULL, answer TEXT NOT NULL);
"""


class Refused(Exception):
    pass


class Bank:
    def __init__(self, path, flaw):
        self.flaw = flaw
        self.lock = threading.Lock()
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.executescript(TABLES)
        if flaw == "forget":
            self.db.execute("DELETE FROM bank_branches WHERE state = 'prepared'")
        found = self.db.execute("SELECT id FROM bank_self").fetchone()
        self.id = found[0] if found else str(uuid.uuid4())
        if not found:
            self.db.execute("INSERT INTO bank_self VALUES(?)", [self.id])

    # ---- SQL ----

    def run(self, statements):
        results, wrote = [], False
        for index, statement in enumerate(statements):
            try:
                cursor = self.db.execute(statement["sql"], statement.get("params", []))
            except sqlite3.Error as error:
                raise Refused({"code": "constraint", "statement": index, "detail": str(error)}) from error
            if cursor.description:
                rows = [list(row) for row in cursor]
                results.append({"columns": [d[0] for d in cursor.description], "rows": rows})
                count = len(rows)
            else:
                wrote, count = True, cursor.rowcount
                results.append({"rows_affected": count})
            if statement.get("expect", {}).get("rows", count) != count:
                raise Refused({"code": "expectation_failed", "statement": index, "detail": f"{count} rows"})
        return results, wrote

    def find(self, gtid):
        row = self.db.execute("SELECT coordinator, state, statements, answer FROM bank_branches WHERE gtid = ?",
                              [gtid]).fetchone()
        return row and dict(zip(("coordinator", "state", "statements", "answer"), row))

    def note(self, gtid, coordinator, state, statements, answer):
        self.db.execute("INSERT OR REPLACE INTO bank_branches VALUES(?, ?, ?, ?, ?)",
                        [gtid, coordinator, state, json.dumps(statements), json.dumps(answer)])

    # ---- Messages ----

    def hear(self, who):
        self.db.execute("INSERT OR REPLACE INTO bank_coordinators VALUES(?, ?)", [who["id"], json.dumps(who)])

    def prepare(self, who, message, branch):
        gtid, statements = message["gtid"], message["statements"]
        if branch:  # again
            return json.loads(branch["answer"])
        try:
            self.db.execute("BEGIN IMMEDIATE")
            results, wrote = self.run(statements)
            busy = self.db.execute("SELECT count(*) FROM bank_branches WHERE state = 'prepared'").fetchone()[0]
            if wrote and busy:
                raise Refused({"code": "conflict", "detail": "one at a time"})
            one_phase = message.get("one_phase")
            answer = {"vote": "committed" if one_phase else "yes", "results": results}
            if wrote and not one_phase and self.flaw != "early":
                self.db.execute("ROLLBACK")
                self.db.execute("BEGIN IMMEDIATE")
            if wrote:
                self.note(gtid, who["id"], "committed" if one_phase else "prepared", statements, answer)
            self.db.execute("COMMIT")
            return answer if wrote else {"vote": "read_only", "results": results}
        except Refused as refused:
            self.db.execute("ROLLBACK")
            answer = {"vote": "no", "cause": refused.args[0]}
            if message.get("one_phase"):  # must not be done when it comes again
                self.note(gtid, who["id"], "aborted", [], answer)
            return answer

    def commit(self, who, message, branch):
        if branch is None:
            return {"state": "committed" if self.flaw == "forget" else "unknown"}
        if branch["state"] == "aborted":
            return {"error": "protocol"}
        if branch["state"] == "prepared" or self.flaw == "twice":
            self.end(message["gtid"], branch, True)
        return {"state": "committed"}

    def abort(self, who, message, branch):
        if branch is None:  # a tombstone, for a prepare that is late
            self.note(message["gtid"], who["id"], "aborted", [],
                      {"vote": "no", "cause": {"code": "client_abort"}})
        elif branch["state"] == "prepared":
            self.end(message["gtid"], branch, False)
        return {"state": self.find(message["gtid"])["state"]}

    def end(self, gtid, branch, commit):
        self.db.execute("BEGIN IMMEDIATE")
        if commit and self.flaw != "early":
            statements = json.loads(branch["statements"])
            if self.flaw == "twice":  # as it would be without a key that stops it
                statements = [s for s in statements if "INSERT" not in s["sql"]] \
                    if branch["state"] == "committed" else statements
            try:
                self.run(statements)
            except Refused:
                if self.flaw != "twice":
                    raise
                self.db.execute("ROLLBACK")  # what was done twice before has left too little for this one
                self.db.execute("BEGIN IMMEDIATE")
        self.db.execute("UPDATE bank_branches SET state = ? WHERE gtid = ?",
                        ["committed" if commit else "aborted", gtid])
        self.db.execute("COMMIT")

    def answer(self, who, message):
        branch = self.find(message["gtid"])
        if branch and branch["coordinator"] != who["id"]:
            return {"error": "wrong_coordinator"}
        return getattr(self, message["op"])(who, message, branch)

    # ---- In doubt ----

    def in_doubt(self):
        return self.db.execute("SELECT gtid, coordinator FROM bank_branches WHERE state = 'prepared'").fetchall()

    def ask(self):
        with self.lock:
            doubts = self.in_doubt()
            about = {i: json.loads(a) for i, a in self.db.execute("SELECT id, about FROM bank_coordinators")}
        for gtid, coordinator in doubts:
            who = dict(about[coordinator])
            url = who.pop("url") + "/v1/decisions"
            body = {"participant_id": self.id, "coordinator": who, "gtids": [gtid]}
            try:
                with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=2) as answer:
                    told = json.load(answer)
            except (OSError, ValueError):
                continue  # later
            outcome = told["decisions"][0]["outcome"] if told["coordinator_id"] == coordinator else "undecided"
            with self.lock:
                branch = self.find(gtid)
                if outcome != "undecided" and branch["state"] == "prepared":
                    self.end(gtid, branch, outcome == "commit")

    def ask_for_ever(self):
        while True:
            time.sleep(0.2)
            self.ask()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer leaves in one piece
    bank = None

    def reply(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with self.bank.lock:
            items = [{"gtid": g, "state": "prepared"} for g, _ in self.bank.in_doubt()]
        self.reply(json.dumps({"items": items, "next_cursor": None}))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        lines = ""
        with self.bank.lock:
            self.bank.hear(body["coordinator"])
            for message in body["messages"]:
                said = self.bank.answer(body["coordinator"], message)
                said.update(op=message["op"], gtid=message["gtid"], participant_id=self.bank.id)
                lines += json.dumps(said) + "\n"
        self.reply(lines)

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    Handler.bank = Bank(sys.argv[2], sys.argv[3])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    threading.Thread(target=Handler.bank.ask_for_ever, daemon=True).start()
    server.serve_forever()
