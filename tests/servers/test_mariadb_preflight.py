"""usage: test_mariadb_preflight.py AGENT; what the agent says when it cannot start, and what to run."""

import os
import sys
import unittest

import mariadb
import preflight
import server

PROGRAMS = None


class Preflight(preflight.Starts, unittest.TestCase):
    password = mariadb.PASSWORD

    @classmethod
    def setUpClass(cls):
        cls.programs = PROGRAMS
        cls.server = mariadb.Server()
        cls.addClassCleanup(cls.server.close)
        cls.server.sql("CREATE DATABASE bank; CREATE DATABASE other;"
                       "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON bank.* TO assent@'%%';"
                       "CREATE USER clerk@'%%' IDENTIFIED BY '%s'" % mariadb.PASSWORD)

    def url(self, database="bank", user="assent"):
        return "mariadb://%s@127.0.0.1:%d/%s" % (user, self.server.port, database)

    def refused(self, *words, url=None, flags=(), **environment):
        environment.setdefault("MYSQL_PWD", self.password)
        ready, said = self.agent(url or self.url(), *flags, **environment)
        self.assertFalse(ready)
        for word in words:
            self.assertIn(word, said)

    def starts(self, *flags, url=None):
        ready, said = self.agent(url or self.url(), *flags, MYSQL_PWD=self.password)
        self.assertTrue(ready, said)
        return said

    def with_global(self, name, value, before):
        self.server.sql("SET GLOBAL %s = %s" % (name, value))
        self.addCleanup(self.server.sql, "SET GLOBAL %s = %s" % (name, before))

    def with_settings(self, **settings):
        before = dict(self.server.settings)
        self.server.settings.update(settings)
        self.server.restart()

        def restore():
            self.server.settings = before
            self.server.restart()
        self.addCleanup(restore)

    def test_it_starts_with_the_password_in_the_url_or_beside_it_and_by_socket(self):
        self.starts()
        ready, said = self.agent(self.server.url("bank"))
        self.assertTrue(ready, said)
        self.starts(url="mariadb://assent@localhost/bank?socket=" + self.server.socket)
        self.starts(url="mysql://assent@/bank?socket=" + self.server.socket.replace("-", "%2d"))

    def test_wrong_password(self):
        self.refused("Access denied", "error 1045", "MYSQL_PWD", "ALTER USER",
                     MYSQL_PWD="not this one")
        self.refused("Access denied", "CREATE USER", url=self.url(user="nobody_here"))

    def test_connection_refused(self):
        self.refused("start the server", "error 2002",
                     url="mariadb://assent@127.0.0.1:%d/bank" % server.free_port())
        self.refused("start it, or correct ?socket=PATH",
                     url="mariadb://assent@localhost/bank?socket=/nonexistent")

    def test_missing_database_and_missing_rights_on_it(self):
        self.server.sql("GRANT SELECT ON nowhere.* TO assent@'%'")
        self.refused("Unknown database 'nowhere'", "CREATE DATABASE", url=self.url("nowhere"))
        self.refused("Access denied", "GRANT SELECT, INSERT, UPDATE, DELETE ON",
                     url=self.url("other"))

    def test_missing_rights_on_the_table_of_markers(self):
        url = self.url(user="clerk")
        self.server.sql("GRANT SELECT, UPDATE ON bank.* TO clerk@'%'")
        self.starts()  # which makes the table
        self.refused("INSERT command denied",
                     "GRANT SELECT, INSERT, DELETE ON `bank`._assent_applied TO 'clerk'@'%'", url=url)
        self.server.sql("GRANT INSERT ON bank._assent_applied TO clerk@'%'")
        self.refused("DELETE command denied", "GRANT SELECT, INSERT, DELETE", url=url)
        self.server.sql("GRANT DELETE ON bank._assent_applied TO clerk@'%'")
        self.starts(url=url)

    def test_a_table_of_markers_that_cannot_be_made(self):
        self.server.sql("CREATE DATABASE bare; GRANT SELECT ON bare.* TO clerk@'%'")
        self.refused("CREATE command denied", "CREATE TABLE IF NOT EXISTS",
                     url=self.url("bare", "clerk"))

    def test_a_table_of_markers_of_an_engine_without_transactions(self):
        self.starts()
        self.server.sql("ALTER TABLE bank._assent_applied ENGINE=MyISAM")
        self.refused("MyISAM", "ALTER TABLE `bank`._assent_applied ENGINE=InnoDB")
        self.server.sql("ALTER TABLE bank._assent_applied ENGINE=InnoDB;")
        self.server.sql("CREATE TABLE bank.kept AS SELECT * FROM bank._assent_applied;"
                        "DELETE FROM bank._assent_applied")
        self.starts()  # as a new one

    def test_settings_that_break_promises(self):
        self.with_global("innodb_flush_log_at_trx_commit", 2, 1)
        self.refused("innodb_flush_log_at_trx_commit = 2",
                     "SET GLOBAL innodb_flush_log_at_trx_commit = 1", "--allow-unsafe-settings")
        self.starts("--allow-unsafe-settings")

    def test_the_doublewrite_buffer_is_off(self):
        self.with_settings(innodb_doublewrite="OFF")
        self.refused("innodb_doublewrite = OFF", "--allow-unsafe-settings")

    def test_read_only_servers(self):
        self.with_global("read_only", "ON", "OFF")
        self.refused("read-only", "SET GLOBAL read_only = OFF", flags=["--allow-unsafe-settings"])
        self.server.sql("SET GLOBAL read_only = OFF")
        self.with_global("tx_read_only", "ON", "OFF")
        self.refused("SET GLOBAL tx_read_only = OFF")

    def test_an_unsupported_version(self):
        """By what it says of itself: there is none here that is older."""
        self.with_settings(version="10.4.99-MariaDB")
        self.refused("MariaDB 10.4.99", "10.5 is the oldest", flags=["--allow-unsafe-settings"])
        self.server.settings["version"] = "8.0.36"
        self.server.restart()
        self.refused("not MariaDB, but 8.0.36")

    def test_a_binary_log_is_warned_of(self):
        self.assertNotIn("maria.binlog", self.starts())
        self.with_settings(log_bin="binlog", server_id="1")
        self.assertIn("evt=maria.binlog", self.starts())

    def test_too_few_connections_are_warned_of(self):
        self.with_global("max_connections", 10, 151)
        self.assertIn("evt=maria.few_connections", self.starts("--sessions", "16"))

    def test_what_is_no_address_is_shown_without_its_password(self):
        for url in ("maria://assent:%s@host/bank", "mariadb://assent:%s@host:none/bank",
                    "mariadb://assent:%s@host", "mariadb://assent:%s@host/bank?what=ever"):
            self.refused("evt=daemon.start_failed", url=url % self.password)


if __name__ == "__main__":
    if mariadb.programs() is None:
        print("skipped: MariaDB is not installed (mariadb-server)")
        sys.exit(77)
    PROGRAMS = os.path.dirname(os.path.abspath(sys.argv.pop(1)))
    unittest.main()
