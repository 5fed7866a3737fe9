"""``python -m salesgauge``: the command line."""

from salesgauge.streams.cli.start import main

main()
