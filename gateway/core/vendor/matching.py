"""Conditions on host, media type, key id, headers and query that select a call, beside its method and path."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import parse_qsl

from gateway.core.http.request import Request

KEY = "key"


@dataclass(frozen=True, slots=True)
class RequestMatcher:
    """Maps each subject to patterns, one of which must match its value; `*` in a pattern matches any text.

    Subjects: `host`, `type` (the media type), `key` (the claimed key id), `header.NAME`, `query.NAME`.
    """

    tests: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def unmet(self, request: Request) -> str | None:
        """Describe the first condition that the head of a request fails, except `key`; None if it meets all."""
        for subject, patterns in self.tests.items():
            if subject == KEY:
                continue
            values = _values(subject, request)
            if not any(fits(pattern, value) for value in values for pattern in patterns):
                found = f"is {values[0][:80]!r}" if values else "is missing"
                return f"{_described(subject)} {found}, and {' or '.join(map(repr, patterns))} is expected"
        return None

    def is_disjoint_from(self, other: "RequestMatcher") -> bool:
        """Whether no request can match both."""
        shared = self.tests.keys() & other.tests.keys()
        return any(
            not any(_overlap(mine, theirs) for mine in self.tests[subject] for theirs in other.tests[subject])
            for subject in shared
        )

    def is_stricter_than(self, other: "RequestMatcher") -> bool:
        """Whether this matcher has all conditions of the other and at least one more."""
        return self.tests.keys() > other.tests.keys() and all(
            self.tests[subject] == patterns for subject, patterns in other.tests.items()
        )

    def combined_with(self, other: "RequestMatcher") -> "RequestMatcher":
        """Return a matcher with the conditions of both. The other's take precedence."""
        return RequestMatcher({**self.tests, **other.tests})


ANY_REQUEST = RequestMatcher()


def fits(pattern: str, value: str) -> bool:
    return _compiled(pattern).fullmatch(value) is not None if "*" in pattern else pattern == value


def _values(subject: str, request: Request) -> list[str]:
    kind, _, name = subject.partition(".")
    if kind == "header":
        return request.header_values(name)
    if kind == "query":
        try:
            pairs = parse_qsl(request.query, keep_blank_values=True, errors="strict", max_num_fields=1000)
        except ValueError:
            return []
        return [value for key, value in pairs if key == name]
    if kind == "type":
        return [value.partition(";")[0].strip().lower() for value in request.header_values("content-type")]
    return request.hosts


def _described(subject: str) -> str:
    kind, _, name = subject.partition(".")
    texts = {"header": f"the header {name.title()}", "query": f"the parameter {name}", "type": "the media type"}
    return texts.get(kind, "the host")


def _overlap(mine: str, theirs: str) -> bool:
    return ("*" in mine and "*" in theirs) or fits(mine, theirs) or fits(theirs, mine)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
