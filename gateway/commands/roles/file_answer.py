"""The answer of a stand-in to the calls of a relay: a file, or nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from mimetypes import guess_type

from gateway.commands.arguments.options import misuse, read_file
from gateway.core.http.request import Headers

PART_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that is read part by part, as an upstream's answer is."""

    headers: Headers
    length: int
    content: BytesIO
    status: int = 200

    async def read(self) -> bytes:
        return self.content.read(PART_BYTES)


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """What each call is answered with. `media_type` None leaves Content-Type out."""

    content: bytes = b""
    media_type: str | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        headers = () if self.media_type is None else (("Content-Type", self.media_type),)
        yield Opened(headers, len(self.content), BytesIO(self.content))


def read_answer(file: str | None, media_type: str | None) -> FileAnswer:
    """Read --file and --type; without a type, it is guessed by the file's name."""
    if file is None:
        if media_type is not None:
            misuse("--type says what --file holds: give --file")
        return FileAnswer()
    return FileAnswer(read_file(file, "--file"), media_type or guess_type(file)[0] or "application/octet-stream")
