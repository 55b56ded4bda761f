"""The program for a parent that holds its standard input: it ends when that does, even by SIGKILL.

python -P -m gateway.tied serve ...
"""

import os
import signal
import sys
import threading

from gateway.cli import main


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main()
