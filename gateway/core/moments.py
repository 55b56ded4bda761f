"""Write times as text, in English in every locale, and read them."""

import re
from datetime import UTC, datetime, timedelta, timezone

from gateway.core.text import shown

NS = 1_000_000_000
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def format_moment(time_ns: int, pattern: str, offset_s: int = 0) -> str:
    """Write a time by a strftime pattern, `offset_s` seconds east of UTC."""
    moment = datetime.fromtimestamp(time_ns // NS, timezone(timedelta(seconds=offset_s)))
    half = "AM" if moment.hour < 12 else "PM"
    names = {"%a": DAYS[moment.weekday()], "%b": MONTHS[moment.month - 1], "%p": half}
    return moment.strftime(re.sub("%[%abp]", lambda found: names.get(found[0], found[0]), pattern))


# ISO 8601: the extended or the basic form, each of date and time; the zone may follow a space.
_ISO = re.compile(
    r"(\d{4})(-?)(\d\d)\2(\d\d)"
    r"(?:[Tt ](\d\d)(?:(:?)(\d\d)(?:\6(\d\d)(?:[.,](\d+))?)?)?(?: ?(?:[Zz]|([+-])(\d\d)(?::?([0-5]\d))?))?)?",
    re.ASCII,
)
# Directives that strftime writes and strptime lacks. It would read the names of this machine's zone as %Z, too.
_READ_AS = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%Z": "UTC"}


def parse_moment(text: str, pattern: str | None = None) -> int:
    """Read a time by ISO 8601, or by a strptime pattern, as nanoseconds since 1970. Without a zone it is in UTC.

    The inverse of `format_moment`. Raises ValueError.
    """
    try:
        return _read_iso(text) if pattern is None else _read_by_pattern(text, pattern)
    except (ValueError, OverflowError, re.error) as error:
        form = "" if pattern is None else f" of the form {pattern!r}"
        raise ValueError(f"{shown(text)} is not a time{form}") from error


def _read_iso(text: str) -> int:
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError
    groups = (1, 3, 4, 5, 7, 8, 11, 12)
    year, month, day, hour, minute, second, hours, minutes = [int(match[group] or 0) for group in groups]
    offset = timedelta(hours=hours, minutes=minutes)
    zone = timezone(-offset if match[10] == "-" else offset)
    return _to_ns(datetime(year, month, day, hour, minute, second, tzinfo=zone)) + int(
        (match[9] or "")[:9].ljust(9, "0")
    )


def _read_by_pattern(text: str, pattern: str) -> int:
    moment = datetime.strptime(text, re.sub("%[%FTZ]", lambda found: _READ_AS.get(found[0], found[0]), pattern))
    return _to_ns(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _to_ns(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
