"""Signed calls: one plain call for each recipe, and arbitrary calls drawn by hypothesis."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from gateway.core.http.received import BodyKind, ReceivedRequest
from gateway.core.http.request import Request, Secret
from gateway.core.http.text import format_request, parse_request
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.canonical import PairsStep
from gateway.core.recipe.carriers import read_slots
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.sign import SigningContext, sign
from gateway.core.recipe.slots import ChosenSlot, GivenSlot, KeySlot, SecretSlot
from gateway.core.recipe.verify import ReplayMemory, Verified, Verifier, verify
from tests.core.recipe.vectors import RECIPES, secret

# The same few examples in each run; GATEWAY_TESTS_EXAMPLES=1000 draws that many random ones for each recipe.
_EXAMPLES = os.environ.get("GATEWAY_TESTS_EXAMPLES")
few = settings(
    max_examples=int(_EXAMPLES or 8),
    deadline=None,
    derandomize=_EXAMPLES is None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

NS = 1_000_000_000
NOW_NS = 1_760_000_000 * NS
FRAMING = frozenset({"host", "content-length", "content-encoding", "transfer-encoding"})


class Memory:
    """Remembers forever."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, ...]] = set()

    def remember(self, once: tuple[str, ...], until_ns: int, *, owner: str = "") -> bool:
        known = once in self._seen
        self._seen.add(once)
        return not known

    def seen(self, once: tuple[str, ...]) -> bool:
        return once in self._seen


@dataclass(frozen=True)
class Call:
    """A received signed request, and what it was signed with."""

    recipe: Recipe = field(repr=False)
    request: Request
    body_kind: BodyKind
    credential: Credential
    given: Mapping[str, str] = field(default_factory=dict)
    now_ns: int = NOW_NS

    @property
    def message(self) -> ReceivedRequest:
        return ReceivedRequest(self.request, self.body_kind)

    @property
    def slots(self) -> dict[str, str]:
        return read_slots(self.recipe, self.message)

    def changed(self, **parts: Any) -> "Call":
        return replace(self, request=replace(self.request, **parts))

    def with_header(self, name: str, *values: str) -> "Call":
        """Return the call with these values of the header, in place of any others."""
        others = tuple(header for header in self.request.headers if header[0].lower() != name.lower())
        return self.changed(headers=(*others, *((name, value) for value in values)))

    def with_header_edited(self, name: str, old: str, new: str) -> "Call":
        text = self.request.header(name)
        assert text is not None and old in text
        return self.with_header(name, text.replace(old, new, 1))

    def verify(
        self, *known: Credential, now_ns: int | None = None, memory: ReplayMemory | None = None, **pins: str | None
    ) -> Verified:
        """Verify it, by default at its own time with its own credential."""
        pinned = {name: text for name, text in {**self.given, **pins}.items() if text is not None}
        check = Verifier(self.recipe, make_keyring(known or [self.credential]), pinned)
        return verify(self.message, [check], now_ns=now_ns or self.now_ns, replays=memory or Memory())

    def rejection(
        self, *known: Credential, now_ns: int | None = None, memory: ReplayMemory | None = None, **pins: str | None
    ) -> Reason | None:
        """Return the reason of a rejection, or None. Errors other than CallerError propagate."""
        try:
            self.verify(*known, now_ns=now_ns, memory=memory, **pins)
        except CallerError as error:
            return error.outcome.reason
        return None


def signed(
    draft: UnsignedRequest,
    recipe: Recipe,
    credential: Credential,
    given: Mapping[str, str],
    now_ns: int = NOW_NS,
    **pinned: str,
) -> Call:
    """Sign a request, write it as HTTP, and read it back."""
    made = sign(draft, recipe, credential, given, SigningContext(now_ns, bytes(range(16)), pinned))
    request, odd = parse_request(format_request(made.request))
    assert not odd or not request.body
    return Call(recipe, replace(request, scheme=draft.scheme), draft.body_kind, credential, given, now_ns)


@cache
def plain_call(
    name: str, *, method: str = "POST", path: str = "/v1/a%20b", query: Any = (("q", "1"),), **pinned: str
) -> Call:
    """Return a report for the recipe's vendor; `pinned` overrides slots."""
    recipe = RECIPES[name]
    kind = body_kinds(recipe)[0]
    bodies = {"json": {"metric": "cpu", "value": 0.5}, "form": (("metric", "cpu"), ("v", "a b")), "text": "cpu 0.5"}
    headers = (("Content-Type", "application/x-www-form-urlencoded" if kind == "form" else "application/json"),)
    draft = UnsignedRequest(method, "http", "metrics.example:8080", path, query, headers, kind, bodies[kind])
    given = {name: name for name, slot in recipe.slots.items() if isinstance(slot, GivenSlot) and not slot.optional}
    return signed(draft, recipe, plain_credential(recipe), given, **pinned)


def plain_credential(recipe: Recipe, text: str = "the-secret") -> Credential:
    return secret(rsa_pem() if uses_rsa(recipe) else text, "the-key" if recipe.key else None)


def uses_rsa(recipe: Recipe) -> bool:
    return recipe.signature is not None and recipe.signature.method == "rsa"


@cache
def rsa_pem(number: int = 0) -> str:
    """Return a different private key for each number."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    unencrypted = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted).decode()


def body_kinds(recipe: Recipe) -> list[BodyKind]:
    """Return the kinds of body that have a place for the recipe's slots."""
    places = {carrier.place for carrier in recipe.carriers}
    if "json" in places:
        return ["json"]
    if "param" in places:
        # Parameters that are signed as a whole are in a query or a form.
        sources = {source for step in recipe.steps.values() if isinstance(step, PairsStep) for source in step.sources}
        return ["form", "none"] if "form" in sources else ["json", "form", "none"]
    return ["json", "form", "text", "none"]


def signed_header_names(recipe: Recipe) -> set[str]:
    """Return the headers, in lower case, that may have to be signed."""
    lists = [slot for slot in recipe.slots.values() if isinstance(slot, ChosenSlot)]
    return {name for slot in lists for must in slot.must for name in must}


def names_in(recipe: Recipe, *places: str) -> frozenset[str]:
    """Return the names, in lower case, of the recipe's carriers in these places."""
    return frozenset(carrier.name.lower() for carrier in recipe.carriers if carrier.place in places)


# No control characters, which HTTP does not allow, and no surrogates, which UTF-8 does not allow.
_PRINTABLE = st.characters(exclude_categories=("Cc", "Cs"))
_TEXT = st.text(_PRINTABLE, max_size=12)
_HEADER_NAMES = st.text("abcdefgXYZ0189!#$&'*+-.^_`|~", min_size=1, max_size=10) | st.sampled_from(
    ["User-Agent", "Accept", "x-amz-meta", "X-Acs-Zz", "X-Cms-B", "under_score", "X-JDCLOUD-Pin"]
)
# Spaces around a value are not part of it (RFC 9110, section 5.5), and no client signs them.
_HEADER_VALUES = _TEXT.map(lambda text: text.strip(" "))
_SEGMENTS = st.sampled_from(
    ["", ".", "..", "a", "%2F", "%2f", "%c3%a9", "%C3%A9", "é", "+", "%20", "~", "%7E", "*", "zstack", "%", "%zz", "=&"]
) | st.text("abcXYZ019-._~!$'()*,;:@", max_size=8)
_JSON_LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | _TEXT
_JSON = st.recursive(
    _JSON_LEAVES.filter(lambda leaf: leaf not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)


_METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE"]) | st.text("ABCXYZ", min_size=1, max_size=8)
_SCHEMES = st.sampled_from(["http", "https"])
_HOSTS = st.sampled_from(["metrics.example", "Metrics.example:8080", "[::1]:80", "é.example"])
_PATHS = st.lists(_SEGMENTS, max_size=4).map(lambda segments: "/" + "/".join(segments))
_CONTENT_TYPES = st.sampled_from(["application/json", "TEXT/plain; charset=utf-8"])
_MOMENTS = st.integers(1_000_000_000 * NS, 4_000_000_000 * NS)
_RAW = st.text() | st.binary(max_size=50)


@st.composite
def calls(draw: st.DrawFn, recipe: Recipe) -> Call:
    """Draw a signed call with any method, path, query, headers and body, at any time."""
    credential = draw(_credentials(recipe))
    return signed(draw(_drafts(recipe)), recipe, credential, draw(_given(recipe)), draw(_MOMENTS))


@st.composite
def _drafts(draw: st.DrawFn, recipe: Recipe) -> UnsignedRequest:
    kind = draw(st.sampled_from(body_kinds(recipe)))
    return UnsignedRequest(
        draw(_METHODS),
        draw(_SCHEMES),
        draw(_HOSTS),
        draw(_PATHS),
        draw(_pairs(names_in(recipe, "query", "param"))),
        draw(_headers(recipe, kind)),
        kind,
        draw(_bodies(recipe, kind)),
    )


@st.composite
def _headers(draw: st.DrawFn, recipe: Recipe, kind: BodyKind) -> tuple[tuple[str, str], ...]:
    headers = draw(_other_headers(FRAMING | {"content-type"} | names_in(recipe, "header")))
    if draw(st.booleans()) or (kind == "none" and "content-type" in signed_header_names(recipe)):
        return (*headers, ("Content-Type", draw(_CONTENT_TYPES)))
    return headers


def _bodies(recipe: Recipe, kind: BodyKind) -> st.SearchStrategy[Any]:
    if kind == "json":
        return _objects(frozenset(name.partition(".")[0] for name in names_in(recipe, "json", "param")))
    if kind == "form":
        return _pairs(names_in(recipe, "form", "param"))
    return _RAW if kind == "text" else st.none()


@st.composite
def _credentials(draw: st.DrawFn, recipe: Recipe) -> Credential:
    keys = [slot for slot in recipe.slots.values() if isinstance(slot, KeySlot)]
    travelling = [slot for slot in recipe.slots.values() if isinstance(slot, SecretSlot)]
    key = draw(_fitting(keys[0].chars)) if keys else None
    if uses_rsa(recipe):
        return secret(rsa_pem(), key)
    return Credential(Secret(draw(_fitting(travelling[0].chars) if travelling else _TEXT.filter(bool))), key)


@st.composite
def _given(draw: st.DrawFn, recipe: Recipe) -> dict[str, str]:
    given = {}
    for name, slot in recipe.slots.items():
        if isinstance(slot, GivenSlot) and not (slot.optional and draw(st.booleans())):
            given[name] = draw(_fitting(slot.chars))
    return given


# Strategies are expensive to make, so each is made once.
@cache
def _pairs(taken: frozenset[str]) -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    names = _TEXT.filter(lambda name: name.lower() not in taken)
    return st.lists(st.tuples(names, _TEXT), max_size=4).map(tuple)


@cache
def _other_headers(taken: frozenset[str]) -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    names = _HEADER_NAMES.filter(lambda name: name.lower() not in taken)
    return st.lists(st.tuples(names, _HEADER_VALUES), max_size=4).map(tuple)


@cache
def _objects(taken: frozenset[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(_TEXT.filter(lambda name: name.lower() not in taken), _JSON, max_size=4)


@cache
def _fitting(pattern: str) -> st.SearchStrategy[str]:
    # A quotation mark would open a quoted value among parameters; no vendor's key contains one.
    printable = st.characters(exclude_categories=("Cc", "Cs"), exclude_characters='"')
    return st.from_regex(re.compile(pattern), fullmatch=True, alphabet=printable).filter(lambda text: len(text) < 200)
