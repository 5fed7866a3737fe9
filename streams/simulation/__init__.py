"""A simulated sales organisation; `streams.simulate` is its entrance."""
