"""One partition's share of the work: facts in, changed states and panes out."""
