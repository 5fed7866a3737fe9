"""The subcommands of `salesgauge`, one module each."""
