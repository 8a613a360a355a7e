"""usage: test_postgres_preflight.py AGENT PG_TAG; what the agent says when it cannot start, and what to
run. No test needs more than a server or two."""

import os
import sys
import unittest

import postgres
import preflight
import server

PROGRAMS = None
PASSWORD = "s3cret-pa55"


class Preflight(preflight.Starts, unittest.TestCase):
    password = PASSWORD

    @classmethod
    def setUpClass(cls):
        cls.programs = PROGRAMS
        cls.server = postgres.Server(auth="scram-sha-256")
        cls.addClassCleanup(cls.server.close)
        cls.server.sql("CREATE DATABASE bank; CREATE ROLE clerk LOGIN PASSWORD '%s'" % PASSWORD)

    def refused(self, *words, url=None, flags=(), **environment):
        environment.setdefault("PGPASSWORD", PASSWORD)
        ready, said = self.agent(url or self.server.url("bank"), *flags, **environment)
        self.assertFalse(ready)
        for word in words:
            self.assertIn(word, said)

    def with_settings(self, **settings):
        before = dict(self.server.settings)
        self.server.settings.update(settings)
        self.server.restart()

        def restore():
            self.server.settings = before
            self.server.restart()
        self.addCleanup(restore)

    def test_it_starts_with_the_password_in_the_url_or_beside_it(self):
        self.assertTrue(self.agent(self.server.url("bank"), PGPASSWORD=PASSWORD)[0])
        url = self.server.url("bank").replace("assent@", "assent:%s@" % PASSWORD)
        ready, said = self.agent(url)
        self.assertTrue(ready, said)

    def test_wrong_password(self):
        self.refused("password authentication failed", "PGPASSWORD", PGPASSWORD="not this one")
        self.refused("no password supplied", ".pgpass", PGPASSWORD="", HOME="/nonexistent")

    def test_connection_refused(self):
        self.refused("Connection refused", "start the server",
                     url="postgresql://assent@127.0.0.1:%d/bank" % server.free_port())

    def test_missing_database_and_missing_role(self):
        self.refused('database \\"nowhere\\" does not exist', "createdb",
                     url=self.server.url("nowhere"))
        self.refused("authentication failed", url=self.server.url("bank", "nobody_here"))

    def test_missing_rights(self):
        self.server.sql("REVOKE CONNECT ON DATABASE bank FROM public")
        self.addCleanup(self.server.sql, "GRANT CONNECT ON DATABASE bank TO public")
        self.refused("GRANT CONNECT ON DATABASE", url=self.server.url("bank", "clerk"))
        self.server.sql("GRANT CONNECT ON DATABASE bank TO public")
        self.server.sql("REVOKE SELECT ON pg_prepared_xacts FROM public", "bank")
        self.refused("GRANT SELECT ON pg_catalog.pg_prepared_xacts TO",
                     url=self.server.url("bank", "clerk"))
        self.server.sql("GRANT SELECT ON pg_prepared_xacts TO public", "bank")
        self.assertTrue(self.agent(self.server.url("bank", "clerk"), PGPASSWORD=PASSWORD)[0])

    def test_prepared_transactions_are_disabled(self):
        self.with_settings(max_prepared_transactions=0)
        self.refused("max_prepared_transactions = 0",
                     "ALTER SYSTEM SET max_prepared_transactions = 200;", "restart the server")
        self.refused("max_prepared_transactions", flags=["--allow-unsafe-settings"])

    def test_too_few_places_are_warned_of(self):
        self.with_settings(max_prepared_transactions=2)
        ready, said = self.agent(self.server.url("bank"), PGPASSWORD=PASSWORD)
        self.assertTrue(ready)
        self.assertIn("evt=pg.few_places", said)

    def test_too_few_connections_are_warned_of(self):
        self.with_settings(max_connections=20)
        for flags, warned in ((), False), (("--sessions", "17"), True):
            ready, said = self.agent(self.server.url("bank"), *flags, PGPASSWORD=PASSWORD)
            self.assertTrue(ready, said)
            self.assertEqual("evt=pg.few_connections" in said, warned, said)

    def test_settings_that_break_promises(self):
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            with self.subTest(name):
                before = self.server.settings
                self.server.settings = dict(before, **{name: "off"})
                self.server.restart()
                self.refused("%s = off" % name, "ALTER SYSTEM SET %s = on;" % name,
                             "--allow-unsafe-settings")
                self.assertTrue(self.agent(self.server.url("bank"), "--allow-unsafe-settings",
                                           PGPASSWORD=PASSWORD)[0])
                self.server.settings = before
        self.server.restart()

    def test_read_only_servers(self):
        self.server.sql("ALTER DATABASE bank SET default_transaction_read_only = on")
        self.refused("default_transaction_read_only", "ALTER DATABASE")
        self.server.sql("SET default_transaction_read_only = off;"
                        "ALTER DATABASE bank RESET default_transaction_read_only")

    def test_a_standby(self):
        standby = postgres.Server(auth="trust")
        self.addCleanup(standby.close)
        standby.stop()
        with open(os.path.join(standby.data, "standby.signal"), "w", encoding="utf-8"):
            pass
        standby.start()
        self.refused("standby", "pg_promote", url=standby.url("postgres"))

    def test_what_is_no_address_is_shown_without_its_password(self):
        self.refused("names no database", url="postgresq://assent:%s@host/bank" % PASSWORD)
        self.refused("evt=daemon.start_failed", url="postgresql://assent:%s@/bank?port=none"
                     % PASSWORD)


if __name__ == "__main__":
    if postgres.programs() is None:
        print("skipped: PostgreSQL is not installed (postgresql-15)")
        sys.exit(77)
    PROGRAMS = os.path.dirname(os.path.abspath(sys.argv.pop(1)))
    PG_TAG = sys.argv.pop(1)
    unittest.main()
