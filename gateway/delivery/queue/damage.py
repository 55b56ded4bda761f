"""Keeps a damaged database or write-ahead log (WAL) as `queue.damaged-<time>.db`, `-wal`.

docs/delivery-and-queue.md describes the recovery.
"""

import os
import shutil
import struct
import time
from pathlib import Path

import structlog

from gateway.delivery.queue.folder import sync_folder, write_ahead_log

log = structlog.get_logger()

# The header of the WAL and of a frame: salts and checksums are the last four numbers.
_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_PAGE_BYTES = 4096


def damaged_files(folder: Path) -> list[str]:
    """Return the names of the files that were set aside and that are still there."""
    return sorted(path.name for path in folder.glob("queue.damaged-*"))


def set_aside(database: Path, why: str) -> None:
    """Rename a damaged database and the files that belong to it."""
    aside = _free_name(database)
    for suffix in ("-wal", "-shm", ""):
        if (part := database.with_name(database.name + suffix)).exists():
            os.replace(part, aside.with_name(aside.name + suffix))
    sync_folder(database.parent)
    hint = f"sqlite3 {aside} .recover | sqlite3 recovered.db; then follow 'Damage' in docs/delivery-and-queue.md"
    log.error("queue_damaged", error=why, damaged_file=str(aside), hint=hint)


def keep_damaged_log(database: Path) -> bool:
    """Copy a damaged WAL, before SQLite discards the frames that it cannot read; return whether it is damaged."""
    wal = write_ahead_log(database)
    readable, unreadable = count_frames(wal)
    if not unreadable:
        return False
    copy = write_ahead_log(_free_name(database))
    try:
        shutil.copy(wal, copy)
    except OSError as error:  # a full disk is no reason not to start
        log.error("queue_log_not_copied", error=error.strerror)
    log.error("queue_log_damaged", readable_frames=readable, unreadable_frames=unreadable, copy=str(copy))
    return True


def count_frames(wal: Path) -> tuple[int, int]:
    """Return the number of frames before the first invalid one, and of those lost by damage.

    SQLite ignores all frames from the first invalid one on. A crash while the last transaction is written leaves such
    frames as well. It was never acknowledged, so only frames that follow a later commit count as damage. Damage within
    the last transaction is therefore not found. After two failed writes of different sizes, leftover frames may look
    like damage. Format: https://www.sqlite.org/fileformat2.html#walformat
    """
    valid = number = last = 0
    commits = follows = False
    if not wal.exists():
        return 0, 0
    with wal.open("rb") as file:
        if len(head := file.read(_HEADER.size)) < _HEADER.size:
            return 0, 0
        magic, _, page_bytes, _, *salts, first, second = _HEADER.unpack(head)
        order = ">" if magic & 1 else "<"
        running = _checksum(head[:24], (0, 0), order)
        is_sound = running == (first, second)
        size = _FRAME.size + (page_bytes if is_sound else _PAGE_BYTES)
        while len(frame := file.read(size)) == size:
            number += 1
            _, pages_after_commit, *frame_salts, first, second = _FRAME.unpack_from(frame)
            if is_sound:
                running = _checksum(frame[:8] + frame[24:], running, order)
                is_sound = frame_salts == salts and running == (first, second)
            elif number == 1:  # the header is damaged
                salts = frame_salts
            if is_sound:
                valid = number
            elif frame_salts == salts:
                follows, commits, last = follows or commits, commits or pages_after_commit > 0, number
    return valid, last - valid if follows else 0


def _checksum(data: bytes, running: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = running
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for one, other in zip(words, words, strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second


def _free_name(database: Path) -> Path:
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    while list(database.parent.glob(f"queue.damaged-{moment}.db*")):
        moment += "+"
    return database.with_name(f"queue.damaged-{moment}.db")
