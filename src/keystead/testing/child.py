"""A service in a process of its own that ends with the process that started it: ``... child DATA HOST:PORT``.

It does what ``keystead init`` and ``keystead serve`` do. The password of ``admin`` is the first line of its standard
input. The end of the input ends the service, so that nothing is left of it when its parent is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from keystead.app.initialise import initialise
from keystead.app.opening import CannotStart
from keystead.app.wiring import serve
from keystead.settings import SettingsError, load


def main() -> None:
    """Make the data directory and serve it. A refusal is one line on standard error, with exit status 1."""
    data, listen = sys.argv[1:]
    password = sys.stdin.buffer.readline()
    try:
        settings = load({"data": Path(data), "listen": listen})
        initialise(settings, password, terminal=False)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        serve(settings)
    except (CannotStart, SettingsError) as error:
        sys.exit(f"Error: {error}")


def _end_with_parent() -> None:
    """Ask this process to end when its input has ended."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
