"""Programs that a benchmark starts, each a process of its own; the last line that one prints is a JSON document."""
