"""Background work: a ledger that survives anything (SQLite, or Redis for many machines), and one engine over it."""
