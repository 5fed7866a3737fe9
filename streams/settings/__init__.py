"""Settings: one model, filled from flags, variables and a file."""
