"""A simulated sales organisation; `salesgauge.streams.simulation.history` is its entrance."""
