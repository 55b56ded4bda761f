"""Sets up logging: one line per event on standard error, as JSON or text. No event contains a body or a secret."""

import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from queue import Full, Queue
from typing import Any, Literal, NoReturn

import structlog

Format = Literal["auto", "json", "text"]
# About 5 MiB of lines.
MAX_LINES = 10_000
CLOSE_S = 1.0
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class LogQueue:
    """A text stream whose `write` never blocks: a thread writes the lines to the file descriptor.

    Lines beyond `max_lines`, and lines that cannot be written, are dropped. The next line that is written is followed
    by an event with their number.
    """

    def __init__(self, descriptor: int, max_lines: int = MAX_LINES) -> None:
        self.dropped = 0
        # Not sys.stderr: Python flushes it at exit, and aborts if a thread is blocked in a write to it.
        self._descriptor = descriptor
        self._lines: Queue[str | None] = Queue(max_lines)
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        try:
            self._lines.put_nowait(text)
        except Full:
            self.dropped += 1

    def flush(self) -> None:
        """Do nothing: lines are written without a buffer."""

    def close(self) -> None:
        """Write the waiting lines; takes at most 2 * CLOSE_S."""
        with suppress(Full):
            self._lines.put(None, timeout=CLOSE_S)
        self._thread.join(CLOSE_S)

    def _work(self) -> None:
        while (text := self._lines.get()) is not None:
            left = text.encode(errors="backslashreplace")
            try:
                while left:
                    left = left[os.write(self._descriptor, left) :]
            except OSError:
                self.dropped += 1
                continue
            if self.dropped:
                lines, self.dropped = self.dropped, 0
                structlog.get_logger().warning("log_lines_dropped", lines=lines)


def configure(level: str, log_format: Format, *, queued: bool = False) -> None:
    """Set up structlog, and the standard library's loggers (aiohttp, asyncio) with the same output.

    With `queued`, a thread writes the lines, so that a stalled reader of stderr does not block the caller.
    """
    stream: Any = sys.stderr
    if queued:
        with suppress(OSError):  # a stderr without a file descriptor cannot block
            stream = LogQueue(sys.stderr.fileno())
            atexit.register(stream.close)
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: structlog.typing.Processor = structlog.processors.JSONRenderer(ensure_ascii=False)
    if as_text:
        last = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=0,
            repr_native_str=True,  # escapes control sequences in the text of a reporter or an upstream
            exception_formatter=structlog.dev.plain_traceback,  # the default shows local variables, even secrets
        )
    else:
        shared.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last]
        )
    )
    logging.basicConfig(level=max(LEVELS[level], logging.WARNING), handlers=[handler], force=True)


@contextmanager
def forwarding(show: Callable[[Mapping[str, Any]], None]) -> Iterator[None]:
    """Inside the context, pass each event of level info and above to `show`, from any thread, and write nothing."""

    def hand_over(logger: Any, method: str, event: structlog.typing.EventDict) -> NoReturn:
        show(event)
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, hand_over],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS["info"]),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
