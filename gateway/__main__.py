"""The entry point of `gateway` and of `python -m gateway`.

The command line is imported inside `main`, so that Ctrl-C during the imports exits with 130, as it does later. A
KeyboardInterrupt would not do: libraries and CPython turn one that is raised during an import into other endings.
"""

import os
import signal


def main() -> None:
    """Run the command line. See `gateway.cli.main` for the exit codes."""
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))
    from gateway.cli import main as run

    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
