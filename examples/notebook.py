# %% [markdown]
# # A private question from a notebook
#
# Open this file in Jupyter (by jupytext), VS Code or Spyder, cell by cell, or run it: `python examples/notebook.py`.
# It asks the server of one's own party, by Flight SQL; that party asks the other one, whose rows never arrive.
#
# `pip install adbc-driver-flightsql pyarrow polars`, and two parties that know each other: those that
# `datafusion-psi demo` leaves in its folder, say. Add `tokens = "tls/tokens.txt"` to `[server]` of
# demo/advertising/publisher/party.toml, and run
# `datafusion-psi token ana --file demo/advertising/publisher/tls/tokens.txt`, which prints `PSI_TOKEN`. `PSI_URI` is
# `grpc+tls://localhost:PORT`, with the port of `listen` in that `[server]`. Then start both:
# `datafusion-psi serve --config demo/advertising/publisher/party.toml`, and the same with demo/advertising/advertiser.

# %%
import os
import threading

import adbc_driver_flightsql.dbapi as flight_sql
import polars as pl
from adbc_driver_flightsql import DatabaseOptions

URI = os.environ.get("PSI_URI", "grpc+tls://localhost:50051")
# The server's certificate, pinned: self-signed is enough.
CERTIFICATE = os.environ.get("PSI_CERTIFICATE", "demo/advertising/publisher/tls/publisher.pem")
TOKEN = os.environ["PSI_TOKEN"]

with open(CERTIFICATE) as file:
    options = {
        DatabaseOptions.TLS_ROOT_CERTS.value: file.read(),
        DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {TOKEN}",
    }
connection = flight_sql.connect(URI, db_kwargs=options, autocommit=True)

# %% [markdown]
# What is there: one's own tables, and each peer's as a schema. A peer's tables have columns and no rows.

# %%
for catalog in connection.adbc_get_objects(depth="tables").read_all().to_pylist():
    for schema in catalog["catalog_db_schemas"]:
        tables = [table["table_name"] for table in schema["db_schema_tables"]]
        print(f"{schema['db_schema_name']:20} {', '.join(tables)}")

# %% [markdown]
# One's own rows are SQL as ever, and become a data frame.

# %%
OWN = os.environ.get("PSI_OWN_TABLE", "impressions")
print(pl.read_database(f"SELECT * FROM {OWN} LIMIT 5", connection))

# %% [markdown]
# Before a private question, what it would cost and show. EXPLAIN runs nothing and charges nothing.

# %%
QUESTION = os.environ.get(
    "PSI_QUESTION",
    "SELECT PRIVATE_INTERSECT_COUNT(*) AS buyers, PRIVATE_INTERSECT_SUM(p.amount) AS revenue "
    "FROM impressions i JOIN advertiser.purchases p ON i.email = p.email",
)
with connection.cursor() as cursor:
    cursor.execute("EXPLAIN " + QUESTION)
    print(cursor.fetchall()[-1][1])

# %% [markdown]
# The question itself. It is charged when its rows are fetched, and may take minutes: another thread can cancel it,
# which stops it on both sides. What was charged stays charged.

# %%
with connection.cursor() as cursor:
    impatience = threading.Timer(600, cursor.adbc_cancel)
    impatience.start()
    try:
        cursor.execute(QUESTION)
        answer = pl.from_arrow(cursor.fetch_arrow_table())
    finally:
        impatience.cancel()
print(answer)

# %% [markdown]
# What is left of the budgets.

# %%
print(pl.read_database("SELECT peer, population, queries_spent, queries_left FROM psi.budget", connection))
connection.close()
