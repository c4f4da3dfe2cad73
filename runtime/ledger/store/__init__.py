"""Where the ledger is kept: SQLite on one node, Postgres on several, with one protocol and the same tests."""
