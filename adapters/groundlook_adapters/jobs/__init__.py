"""Background work: one job table that survives anything, run by huey."""
