"""Operation: checks, rebuilds, dead letters."""
