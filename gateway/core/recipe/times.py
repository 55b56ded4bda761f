"""Writes and reads the times of recipes, independent of the system's locale and time zone."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

from gateway.core.moments import MONTHS, NS, format_moment
from gateway.core.recipe.slots import TimeSlot

# The nanoseconds in one unit of each epoch format, and the pattern of its text.
EPOCHS = {"epoch": (NS, "(?:0|[1-9][0-9]{0,11})"), "epoch_ms": (1_000_000, "(?:0|[1-9][0-9]{0,14})")}
HTTP = "%a, %d %b %Y %H:%M:%S GMT"
HTTP_CHARS = r"[A-Za-z]{3}, [0-9]{1,2} [A-Za-z]{3} [0-9]{4} [0-9:]{8} [A-Za-z0-9/_+-]+"
PATTERN_CHARS = "[0-9A-Za-z:.+-]+"

_WALL_CLOCK = re.compile(r"[a-z]{3}, (\d{1,2}) ([a-z]{3}) (\d{4}) (\d\d):(\d\d):(\d\d) (.+)", re.IGNORECASE)
_OFFSET = re.compile(r"(?:GMT|UTC)?([+-])(\d\d):?(\d\d)")
_UTC_NAMES = {"GMT", "UTC", "Z", "UT"}


def write_time(time_ns: int, time_format: str, offset_s: int) -> str:
    """Write a time as `epoch`, `epoch_ms`, `http` or by a strftime pattern, in English."""
    if time_format in EPOCHS:
        return str(time_ns // EPOCHS[time_format][0])
    return _write_second(time_ns // NS, HTTP if time_format == "http" else time_format, offset_s)


@lru_cache(1024)
def _write_second(time_s: int, pattern: str, offset_s: int) -> str:
    return format_moment(time_s * NS, pattern, offset_s)


def read_times(text: str, slot: TimeSlot) -> list[int]:
    """Return the possible readings in nanoseconds, the most likely first; empty if the text is not a time."""
    if slot.format in EPOCHS:
        return [int(text) * EPOCHS[slot.format][0]]
    if slot.format == "http" or slot.read:
        return list(_wall_clock_readings(text, slot))
    try:
        moment = datetime.strptime(text, slot.format)
    except ValueError:
        return []
    return [_to_ns(moment, slot.offset_s)]


def _wall_clock_readings(text: str, slot: TimeSlot) -> Iterator[int]:
    match = _WALL_CLOCK.fullmatch(text)
    month = match[2].title() if match else ""
    if match is None or month not in MONTHS:
        return
    day, year, hour, minute, second = (int(match[group]) for group in (1, 3, 4, 5, 6))
    try:
        moment = datetime(year, MONTHS.index(month) + 1, day, hour, minute, second)
    except ValueError:
        return
    for reading in slot.read or ("named",):
        offset_s = _named_offset_s(match[7], slot) if reading == "named" else reading
        if offset_s is not None:
            yield _to_ns(moment, offset_s)
        if reading == "named" and offset_s is not None:
            # Each further reading would open the window again, hours earlier or later.
            return


def _named_offset_s(zone: str, slot: TimeSlot) -> int | None:
    if zone in slot.zones:
        return slot.zones[zone]
    offset = _OFFSET.fullmatch(zone)
    if offset is not None:
        seconds = int(offset[2]) * 3600 + int(offset[3]) * 60
        return seconds if offset[1] == "+" else -seconds
    return 0 if zone.upper() in _UTC_NAMES else None


def _to_ns(wall_clock: datetime, offset_s: int) -> int:
    return (int(wall_clock.replace(tzinfo=UTC).timestamp()) - offset_s) * NS
