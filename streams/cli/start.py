"""The program's start: what Ctrl-C does before there is anything to tidy up, and then the command line."""

import os
import signal
from types import FrameType

_INTERRUPTED = 130  # as shells report Ctrl-C
_IMPORTING = "<frozen importlib._bootstrap>"


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Leave at once while modules are loaded, which may take half a second; interrupt what the program does else.

    Raises:
        KeyboardInterrupt: no module is being loaded.
    """
    del number
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            os._exit(_INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


def main() -> None:
    """The entry point."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # in the background it is ignored
        signal.signal(signal.SIGINT, _interrupt)
    try:
        from salesgauge.streams.cli.main import main as run

        run()
    except KeyboardInterrupt:
        os._exit(_INTERRUPTED)
    finally:
        if signal.getsignal(signal.SIGINT) is _interrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever does not want to wait for the end gets it quietly


if __name__ == "__main__":
    main()
