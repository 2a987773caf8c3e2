"""Flight SQL as Python's users meet it: two parties made by `datafusion-psi init`, served by `datafusion-psi serve`,
asked by ADBC (Go's Flight, its TLS) and by flightsql-dbapi (C++'s).

Run by .ci/run: python tests/python/flight_sql.py PATH_OF_DATAFUSION_PSI
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import adbc_driver_flightsql.dbapi as adbc
import adbc_driver_manager
import flightsql
import polars
import pyarrow
import pyarrow.flight
from adbc_driver_flightsql import ConnectionOptions, DatabaseOptions

BINARY = Path(sys.argv.pop(1)).resolve() if len(sys.argv) > 1 else Path("target/debug/datafusion-psi").resolve()

# People of each party; the second half of the paper's are the first half of the shop's.
PEOPLE = 20_000
COMMON = PEOPLE // 2

QUESTION = "SELECT PRIVATE_INTERSECT_COUNT(*) AS n, PRIVATE_INTERSECT_SUM(p.amount) AS total FROM readers r JOIN shop.people p ON r.email = p.email"
# The same over few rows here: fast.
SMALL = QUESTION + f" WHERE r.person >= {PEOPLE - 10} "


def run(*arguments):
    return subprocess.run([BINARY, *map(str, arguments)], check=True, capture_output=True, text=True)


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


class Parties:
    """Both parties' folders, their servers, and what two analysts of the paper have."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.ports = {"shop": free_port(), "paper": free_port()}
        for name in ["shop", "paper", "ana", "stranger"]:
            run("init", name, "--folder", self.folder / name)
        self.token = run("token", "ben", "--file", self.path("paper/tls/tokens.txt")).stdout.strip()
        self.expired = run("token", "old", "--until", "2020-01-01", "--file", self.path("paper/tls/tokens.txt")).stdout.strip()
        for one, other in [("shop", "paper"), ("paper", "shop")]:
            self.path(f"{one}/tls/{other}.pem").write_text(self.read(f"{other}/tls/{other}.pem"))
        self.path("paper/tls/analysts.pem").write_text(self.read("ana/tls/ana.pem"))
        self.table("shop/data/people.csv", range(PEOPLE))
        self.table("paper/data/readers.csv", range(COMMON, COMMON + PEOPLE))
        self.policy("shop", """
[[table]]
name = "people"
location = "data/people.csv"
[[share]]
table = "people"
with = ["paper"]
identifiers = { email = "email/1" }
aggregates = { amount = { min = 0, max = 9, max_rows = 1 } }
minimum_matched = 0
[share.budget]
population = "shoppers"
queries = 100
sizes = { exact = true }
outputs = { noise = "none" }
""", "paper")
        self.policy("paper", """
[[table]]
name = "readers"
location = "data/readers.csv"
[[ask]]
of = ["shop"]
population = "readers"
rows = "reveal"
identifiers = 1
[ask.budget]
queries = 100
sizes = { exact = true }
""", "shop")
        checked = run("check", "--config", self.path("paper/party.toml")).stdout
        assert "analysts.pem or a token of" in checked, checked
        self.servers = [self.serve(name) for name in self.ports]

    def path(self, name):
        return self.folder / name

    def read(self, name):
        return self.path(name).read_text()

    def table(self, name, people):
        rows = "".join(f"{n},person{n}@example.org,{n % 10}\n" for n in people)
        self.path(name).write_text("person,email,amount\n" + rows)

    def policy(self, name, text, peer):
        config = self.path(f"{name}/party.toml")
        made = config.read_text().replace("127.0.0.1:50051", f"127.0.0.1:{self.ports[name]}", 1)
        if name == "paper":
            for key in ["clients", "tokens"]:
                assert f"\n#{key} = " in made
                made = made.replace(f"\n#{key} = ", f"\n{key} = ", 1)
        config.write_text(made + text + f"""
[[peer]]
name = "{peer}"
address = "grpc+tls://127.0.0.1:{self.ports[peer]}"
certificate = "tls/{peer}.pem"
""")

    def serve(self, name):
        with open(self.path(f"{name}.log"), "w") as log:
            server = subprocess.Popen([BINARY, "serve", "--config", self.path(f"{name}/party.toml")], stderr=log)
        for _ in range(300):
            assert server.poll() is None, self.read(f"{name}.log")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.ports[name])) == 0:
                    return server
            time.sleep(0.1)
        raise AssertionError(f"{name} does not listen")

    def stop(self):
        for server in self.servers:
            server.terminate()
        for server in self.servers:
            server.wait(30)

    # What a user writes into a connection.

    @property
    def uri(self):
        return f"grpc+tls://localhost:{self.ports['paper']}"

    def trust(self):
        return {DatabaseOptions.TLS_ROOT_CERTS.value: self.read("paper/tls/paper.pem")}

    def by_certificate(self, who="ana", folder=None):
        return self.trust() | {
            DatabaseOptions.MTLS_CERT_CHAIN.value: self.read(f"{folder or who}/tls/{who}.pem"),
            DatabaseOptions.MTLS_PRIVATE_KEY.value: self.read(f"{folder or who}/tls/{who}.key"),
        }

    def by_token(self, token=None):
        return self.trust() | {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {token or self.token}"}

    def by_password(self, name="ben", token=None):
        return self.trust() | {"username": name, "password": token or self.token}

    def connect(self, options):
        return adbc.connect(self.uri, db_kwargs=options, autocommit=True)

    def sessions(self):
        """The shop's log lines of each session, by its name."""
        found = {}
        for line in self.read("shop.log").splitlines():
            if " session=" in line:
                found.setdefault(line.split(" session=")[1].split()[0], []).append(line)
        return found


class FlightSql(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.parties = Parties(cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.parties.stop()
        if os.environ.get("SHOW_LOGS"):
            print(cls.parties.read("paper.log"), cls.parties.read("shop.log"))
        cls.folder.cleanup()

    def one(self, options, sql):
        with self.parties.connect(options) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()

    def test_a_private_query_by_certificate_by_token_and_by_name_and_token(self):
        amounts = sum(n % 10 for n in range(PEOPLE - 10, PEOPLE))
        for options in [self.parties.by_certificate(), self.parties.by_token(), self.parties.by_password()]:
            self.assertEqual(self.one(options, SMALL), (10, amounts))
            self.assertEqual(self.one(options, "SELECT COUNT(*) FROM readers"), (PEOPLE,))

    def test_data_frames(self):
        with self.parties.connect(self.parties.by_token()) as connection:
            frame = polars.read_database("SELECT email, amount FROM readers ORDER BY person LIMIT 3", connection)
            self.assertEqual(frame["email"].to_list(), [f"person{n}@example.org" for n in range(COMMON, COMMON + 3)])
            with connection.cursor() as cursor:
                cursor.execute(SMALL)
                table = cursor.fetch_arrow_table()
            self.assertEqual(table.column_names, ["n", "total"])
            with connection.cursor() as cursor:
                cursor.execute("SELECT * FROM readers")
                self.assertEqual(cursor.fetch_arrow_table().num_rows, PEOPLE)

    def test_what_tools_list(self):
        with self.parties.connect(self.parties.by_certificate()) as connection:
            self.assertEqual(connection.adbc_get_info()["vendor_name"], "datafusion-psi")
            found = connection.adbc_get_objects(depth="all").read_all().to_pylist()
            [catalog] = [catalog for catalog in found if catalog["catalog_name"] == "datafusion"]
            schemas = {schema["db_schema_name"]: schema["db_schema_tables"] for schema in catalog["catalog_db_schemas"]}
            self.assertLessEqual({"public", "shop", "psi"}, set(schemas))
            [people] = schemas["shop"]
            self.assertEqual((people["table_name"], people["table_type"]), ("people", "TABLE"))
            self.assertEqual([column["column_name"] for column in people["table_columns"]], ["email", "amount"])
            self.assertIn("budget", [table["table_name"] for table in schemas["psi"]])
            self.assertEqual(connection.adbc_get_table_types(), ["TABLE", "VIEW"])
            self.assertEqual(connection.adbc_get_table_schema("readers").names, ["person", "email", "amount"])

    def test_settings_stick_to_a_connection(self):
        setting = "SELECT value FROM information_schema.df_settings WHERE name = 'psi.timeout_seconds'"
        for extra in [{}, {DatabaseOptions.WITH_COOKIE_MIDDLEWARE.value: "true"}]:
            with self.parties.connect(self.parties.by_token() | extra) as connection, connection.cursor() as cursor:
                cursor.execute("SET psi.timeout_seconds = 123")
                cursor.execute(setting)
                self.assertEqual(cursor.fetchone(), ("123",))
                cursor.execute("CREATE VIEW few AS SELECT * FROM readers LIMIT 4")
                cursor.execute("SELECT COUNT(*) FROM few")
                self.assertEqual(cursor.fetchone(), (4,))
                option = ConnectionOptions.OPTION_SESSION_OPTION_PREFIX.value + "psi.timeout_seconds"
                connection.adbc_connection.set_options(**{option: "77"})
                cursor.execute(setting)
                self.assertEqual(cursor.fetchone(), ("77",))
                self.assertEqual(connection.adbc_connection.get_option(option), "77")
                connection.adbc_connection.set_options(**{"adbc.connection.db_schema": "shop"})
                cursor.execute("EXPLAIN SELECT PRIVATE_INTERSECT_COUNT(*) FROM public.readers r JOIN people p ON r.email = p.email")
                self.assertIn("PrivateQueryExec", cursor.fetchall()[-1][1])
        self.assertNotEqual(self.one(self.parties.by_token(), setting), ("123",))

    def test_parameters(self):
        with self.parties.connect(self.parties.by_certificate()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM readers WHERE amount < ? AND email <> ?", (3, "nobody"))
            self.assertEqual(cursor.fetchone(), (PEOPLE * 3 // 10,))
            schema = cursor.adbc_prepare("SELECT email FROM readers WHERE person = ?")
            self.assertEqual([str(field.type) for field in schema], ["int64"])

    def refused(self, options, sql="SELECT 1"):
        with self.assertRaises(adbc_driver_manager.Error) as caught:
            self.one(options, sql)
        return str(caught.exception)

    def test_refusals_say_what_is_wrong(self):
        parties = self.parties
        for options, words in [
            (parties.trust(), "connect with a client certificate or a token"),
            (parties.by_certificate("stranger"), "unknown certificate sha256:"),
            (parties.by_token("psi-guess"), "paper does not know this token"),
            (parties.by_token(parties.expired), "the token of 'old' expired at the end of 2020-01-01"),
            (parties.by_password("ben", "guess"), "does not know this user name and token"),
            (parties.by_certificate("shop"), "the certificate is that of the peer 'shop'"),
        ]:
            self.assertIn(words, self.refused(options))
        ana = parties.by_certificate()
        self.assertIn("its rows stay with shop", self.refused(ana, "SELECT * FROM shop.people"))
        self.assertIn("COPY is refused here", self.refused(ana, "COPY readers TO '/tmp/readers.csv'"))
        self.assertIn("nothing", self.refused(ana, "SELECT nothing FROM readers"))
        untrusted = {"username": "ben", "password": parties.token}
        self.assertIn("certificate", self.refused(untrusted), "who does not know the server's certificate says so")
        skipped = parties.by_token() | {DatabaseOptions.TLS_SKIP_VERIFY.value: "true"}
        skipped.pop(DatabaseOptions.TLS_ROOT_CERTS.value)
        self.assertEqual(self.one(skipped, "SELECT 1"), (1,))

    def test_a_running_question_is_cancelled_on_both_sides(self):
        before = set(self.parties.sessions())
        with self.parties.connect(self.parties.by_certificate()) as connection, connection.cursor() as cursor:
            failed = []

            def ask():
                try:
                    cursor.execute(QUESTION)
                    cursor.fetchall()
                except adbc_driver_manager.Error as error:
                    failed.append(error)

            asking = threading.Thread(target=ask)
            asking.start()
            began = set()
            for _ in range(600):
                began = set(self.parties.sessions()) - before
                if began or not asking.is_alive():
                    break
                time.sleep(0.02)
            self.assertTrue(asking.is_alive(), f"it ended before it could be cancelled: {failed}")
            cursor.adbc_cancel()
            asking.join(20)
            self.assertFalse(asking.is_alive())
            self.assertEqual(len(failed), 1)
        [session] = began
        for _ in range(200):
            lines = self.parties.sessions()[session]
            if len(lines) > 1:
                break
            time.sleep(0.1)
        self.assertGreater(len(lines), 1, "the shop goes on")
        self.assertFalse(any("session finished" in line for line in lines), lines)
        # It answers on.
        self.assertEqual(self.one(self.parties.by_token(), SMALL)[0], 10)

    def test_a_second_client(self):
        """flightsql-dbapi: C++'s Flight, whose TLS is another than Go's."""
        parties = self.parties
        client = flightsql.FlightSQLClient(
            host="localhost", port=parties.ports["paper"], token=parties.token, insecure=False,
            tls_root_certs=parties.read("paper/tls/paper.pem").encode())
        info = client.execute(SMALL)
        self.assertEqual(client.do_get(info.endpoints[0].ticket).read_all().to_pydict()["n"], [10])
        with self.assertRaises(pyarrow.ArrowException) as again:
            client.do_get(info.endpoints[0].ticket).read_all()
        self.assertIn("no result waits under this ticket", str(again.exception))
        # Name and token by Java's and C++'s handshake.
        plain = pyarrow.flight.FlightClient(parties.uri, tls_root_certs=parties.read("paper/tls/paper.pem"))
        header, bearer = plain.authenticate_basic_token("ben", parties.token)
        self.assertEqual((header, bearer), (b"authorization", f"Bearer {parties.token}".encode()))
        options = pyarrow.flight.FlightCallOptions(headers=[(header, bearer)])
        self.assertEqual(len(list(plain.list_actions(options))), 7)
        with self.assertRaises(pyarrow.flight.FlightUnauthenticatedError) as unknown:
            plain.list_actions()
        self.assertIn("connect with", str(unknown.exception))


    def test_the_notebook_runs(self):
        parties = self.parties
        question = {
            "PSI_URI": parties.uri,
            "PSI_CERTIFICATE": str(parties.path("paper/tls/paper.pem")),
            "PSI_TOKEN": parties.token,
            "PSI_OWN_TABLE": "readers",
            "PSI_QUESTION": SMALL,
        }
        notebook = Path(__file__).parents[2] / "examples/notebook.py"
        done = subprocess.run([sys.executable, notebook], env=os.environ | question, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        for shown in ["people", "PrivateQueryExec", "queries_left"]:
            self.assertIn(shown, done.stdout)


if __name__ == "__main__":
    result = unittest.main(argv=[sys.argv[0], "-v", *sys.argv[1:]], exit=False).result
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    sys.exit(1 if failed or not result.testsRun else 0)
