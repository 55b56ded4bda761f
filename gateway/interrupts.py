"""Ctrl-C during imports."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def exit_on_ctrl_c() -> Iterator[None]:
    """Exit with 130 at Ctrl-C. KeyboardInterrupt does not work during imports: libraries and CPython catch it there,
    or turn it into other exceptions."""
    in_main = threading.current_thread() is threading.main_thread()
    replaced = in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if replaced:
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))
    yield
    if replaced:
        signal.signal(signal.SIGINT, signal.default_int_handler)
