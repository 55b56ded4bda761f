"""Recovery of a damaged queue with the program sqlite3, by the steps of docs/delivery-and-queue.md."""

import subprocess
from pathlib import Path

RECOVER = 'sqlite3 "$1" .recover | sqlite3 "$2"'
DUMP = """
sqlite3 "$1" .dump | sed 's/^ROLLBACK.*/COMMIT;/' | sqlite3 "$2"
sqlite3 "$2" "PRAGMA user_version = $(sqlite3 "$1" 'PRAGMA user_version')"
"""


def recovered(database: Path, command: str) -> Path:
    """Recover a damaged file into the queue of a new folder; return the folder."""
    folder = database.parent / "recovered"
    folder.mkdir()
    if command == "dump":
        # Zeros in the place of lost pages: `.dump` does not open a file that is too short.
        subprocess.run(["truncate", "-s", "+1G", database], check=True)
    script = RECOVER if command == "recover" else DUMP
    # It ends with 1: a row that cannot be restored, and the table sqlite_sequence, which exists already, are errors.
    subprocess.run(["sh", "-c", script, "-", database, folder / "queue.db"], check=False, stderr=subprocess.DEVNULL)
    return folder


def can_recover() -> bool:
    """Some builds of sqlite3, such as that of Debian 12, know `.recover` and fail in it."""
    try:
        done = subprocess.run(["sqlite3", ":memory:", "SELECT 1 FROM sqlite_dbpage"], capture_output=True, check=False)
    except FileNotFoundError:
        return True
    return done.returncode == 0
