"""Runs the command line in this process as `gateway ARGUMENTS` would, its standard streams as bytes."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest

from gateway.cli import main


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    raw: bytes
    errors: str

    @property
    def output(self) -> str:
        return self.raw.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def complaint(self) -> str:
        """The one line of standard error; fails where there is none, or more."""
        [line] = self.errors.splitlines()
        return line


def run(*arguments: object, stdin: bytes | None = b"") -> Ended:
    """Run a command to its end; `stdin` None is a closed one."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    given = None if stdin is None else io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        patch.object(sys, "stdin", given),
        pytest.raises(SystemExit) as end,
    ):
        main([str(argument) for argument in arguments])
    streams = [stream.buffer.getvalue() for stream in (out, err)]  # type: ignore[attr-defined]
    return Ended(int(end.value.code or 0), streams[0], streams[1].decode())
