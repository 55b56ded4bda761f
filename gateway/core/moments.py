"""Write times as text, in English in every locale, and in a stated time zone."""

import re
from datetime import datetime, timedelta, timezone

NS = 1_000_000_000
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def format_moment(time_ns: int, pattern: str, offset_s: int = 0) -> str:
    """Write a time by a strftime pattern, `offset_s` seconds east of UTC."""
    moment = datetime.fromtimestamp(time_ns // NS, timezone(timedelta(seconds=offset_s)))
    half = "AM" if moment.hour < 12 else "PM"
    names = {"%a": DAYS[moment.weekday()], "%b": MONTHS[moment.month - 1], "%p": half}
    return moment.strftime(re.sub("%[%abp]", lambda found: names.get(found[0], found[0]), pattern))
