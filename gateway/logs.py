"""Sets up logging: one line per event on standard error, as JSON or text. No event contains a body or a secret."""

import atexit
import json
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn

import orjson
import structlog

Format = Literal["auto", "json", "text"]
# About 5 MiB of lines.
MAX_LINES = 10_000
CLOSE_S = 1.0
# How long the log thread collects lines: waking it for each line would cost more than the line.
COLLECT_S = 0.05
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class LogQueue:
    """A text stream whose `write` never blocks: a thread writes the lines to the file descriptor, several at once.

    Lines beyond `max_lines`, and lines that cannot be written, are dropped. The next line that is written is followed
    by an event with their number.
    """

    def __init__(self, descriptor: int, max_lines: int = MAX_LINES) -> None:
        self.dropped = 0
        # Not sys.stderr: Python flushes it at exit, and aborts if a thread is blocked in a write to it.
        self._descriptor = descriptor
        self._max_lines = max_lines
        self._lines: deque[str] = deque()
        self._closing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        if len(self._lines) >= self._max_lines:
            self.dropped += 1
            return
        self._lines.append(text)
        if not self._wake.is_set():
            self._wake.set()

    def flush(self) -> None:
        """Do nothing: the thread writes without a buffer."""

    def close(self) -> None:
        """Write the waiting lines; takes at most CLOSE_S."""
        self._closing = True
        self._wake.set()
        self._thread.join(CLOSE_S)

    def _work(self) -> None:
        while not (self._closing and not self._lines):
            self._wake.wait()
            if not self._closing:
                time.sleep(COLLECT_S)
            # Each switch between threads delays the reports, so this one takes all lines at once.
            self._wake.clear()
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            left = "".join(lines).encode(errors="backslashreplace")
            try:
                while left:
                    left = left[os.write(self._descriptor, left) :]
            except OSError:
                self.dropped += len(lines)
                continue
            if self.dropped:
                dropped, self.dropped = self.dropped, 0
                structlog.get_logger().warning("log_lines_dropped", lines=dropped)


_JSON_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_UTC_Z


def _as_json(logger: Any, method: str, event: structlog.typing.EventDict) -> str:
    """Render an event on one line. Of an object that JSON does not know, it has the `repr`, so no secret.

    One function does what three of structlog's would, because every report has an event.
    """
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, method, event)
    event.setdefault("level", "error" if method == "exception" else method)
    event["timestamp"] = datetime.now(UTC)
    try:
        return orjson.dumps(event, default=repr, option=_JSON_OPTIONS).decode()
    except TypeError:  # half of a surrogate pair, or an integer beyond 64 bits
        event["timestamp"] = str(event["timestamp"])
        return json.dumps(event, default=repr)


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
    own: list[structlog.typing.Processor] = [_as_json]
    if as_text:
        own = [
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                pad_event_to=0,
                repr_native_str=True,  # escapes control sequences in the text of a reporter or an upstream
                exception_formatter=structlog.dev.plain_traceback,  # the default shows local variables, even secrets
            ),
        ]
    structlog.configure(
        processors=own,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *own[-2:]],
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
