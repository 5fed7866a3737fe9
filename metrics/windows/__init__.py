"""Windows: running sums over the panes of all partitions, by series."""
