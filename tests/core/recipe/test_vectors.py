"""Requests signed by other programs: accepted at their time, signed again, rejected with any part changed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from gateway.core.http.received import ReceivedRequest, guess_body_kind
from gateway.core.http.request import Request
from gateway.core.http.text import parse_request
from gateway.core.outcome.errors import CallerError
from gateway.core.recipe.carriers import read_slots
from gateway.core.recipe.filters import to_text
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.slots import ChosenSlot
from gateway.proof.vectors import Vector, accept_vector, sign_again
from tests.core.recipe.vectors import DATA, RECIPES, altered, document, read_request, secret

NS = 1_000_000_000


@dataclass(frozen=True)
class Known:
    """A vector and its recipe."""

    recipe: Recipe
    vector: Vector

    def __str__(self) -> str:
        return f"{self.recipe.name}-{self.vector.name}"

    @property
    def request(self) -> Request:
        return self.vector.message.request

    def slots(self) -> dict[str, str]:
        return read_slots(self.recipe, self.vector.message)

    def is_accepted(self, request: Request) -> bool:
        message = ReceivedRequest(request, self.vector.message.body_kind)
        try:
            accept_vector(self.recipe, replace(self.vector, message=message))
        except CallerError:
            return False
        return True


def _known(
    name: str, recipe: Recipe, request: Request, credential: Credential, now: int, text: str = "", **given: str
) -> Known:
    message = ReceivedRequest(request, guess_body_kind(request))
    return Known(recipe, Vector(name, "", message, credential, now * NS, given, text))


def _cases(file: str, recipe_name: str, key: str, secret_name: str) -> Iterator[Known]:
    content = document(file)
    for case in content["cases"]:
        keys = case.get("credentials") or content["credentials"]
        credential, text = secret(keys[secret_name], keys[key]), case.get("string_to_sign", "")
        yield _known(case["id"], RECIPES[recipe_name], read_request(case["request"]), credential, content["now"], text)


def _zstack() -> Iterator[Known]:
    content = document("zstack.json")
    keys, now = content["credentials"], content["now"]
    in_utc = altered("zstack-access-key", slots={"time": {"read": ["named", "+08:00", "utc"], "tz": "utc"}})
    for case in content["cases"]:
        request = read_request(case["request"])
        if "string_to_sign" not in case:
            yield _known(case["id"], RECIPES["zstack-session"], request, secret(keys["session_uuid"]), now)
            continue
        recipe = in_utc if "tz-utc" in case["id"] else RECIPES["zstack-access-key"]
        credential = secret(keys["access_key_secret"], keys["access_key_id"])
        yield _known(case["id"], recipe, request, credential, now, case["string_to_sign"])


def _huawei() -> Iterator[Known]:
    for known in _cases("huawei_sdk_hmac_sha256.json", "huawei-sdk-hmac-sha256", "ak", "sk"):
        if known.vector.name == "post-text-plain":
            # The SDK sends UNSIGNED-PAYLOAD for a body that is not JSON; the recipe must allow it.
            recipe = altered("huawei-sdk-hmac-sha256", slots={"digest": {"allow": ["UNSIGNED-PAYLOAD"]}})
            known = replace(known, recipe=recipe)
        yield known


def _tencent_v1() -> Iterator[Known]:
    for known in _cases("tencent_v1.json", "tencent-v1", "secret_id", "secret_key"):
        is_sha256 = "hmacsha256" in known.vector.name
        yield replace(known, recipe=RECIPES["tencent-v1-sha256"]) if is_sha256 else known


def _scp() -> Iterator[Known]:
    content = document("scp.json")
    credential = secret(content["credentials"]["secret_key"], content["credentials"]["access_key"])
    for case in content["pypi_client"]["cases"]:
        yield _known(case["id"], RECIPES["scp"], read_request(case["request"]), credential, content["now"])


def _sigv4() -> Iterator[Known]:
    for folder in sorted((DATA / "aws-sigv4").iterdir()):
        context = json.loads((folder / "context.json").read_text())
        now = int(datetime.fromisoformat(context["timestamp"]).astimezone(UTC).timestamp())
        keys = context["credentials"]
        yield _known(
            folder.name,
            RECIPES["aws-sigv4"] if context["normalize"] else _unnormalized(),
            _raw(folder / "header-signed-request.txt"),
            secret(keys["secret_access_key"], keys["access_key_id"]),
            now,
            (folder / "header-string-to-sign.txt").read_text(),
            region=context["region"],
            service=context["service"],
        )


def _raw(path: Path) -> Request:
    head, _, body = path.read_bytes().partition(b"\n\n")
    unfolded = head.replace(b"\n ", b" ")
    request, _ = parse_request(unfolded + b"\n\n" + body)
    return request


@cache
def _unnormalized() -> Recipe:
    lines = ["{method}", "{path|percent:/}", "{canonical_query}", "{headers}", "{signed}", "{digest}"]
    return altered("aws-sigv4", steps={"canonical_request": {"lines": lines}})


VECTORS = [
    *_zstack(),
    *_huawei(),
    *_cases("tencent_receiver.json", "tencent-receiver", "secret_id", "secret_key"),
    *_tencent_v1(),
    *_cases("tencent_tc3.json", "tencent-tc3", "secret_id", "secret_key"),
    *_cases("jdcloud2.json", "jdcloud2", "access_key", "secret_key"),
    *_cases("jdcloud3.json", "jdcloud3", "access_key", "secret_key"),
    *_scp(),
    *_sigv4(),
]
SIGNED = [known for known in VECTORS if known.recipe.signature is not None]
every_vector = pytest.mark.parametrize("known", VECTORS, ids=str)
every_signed_vector = pytest.mark.parametrize("known", SIGNED, ids=str)


@every_vector
def test_vector_is_accepted_at_its_time(known: Known) -> None:
    verified = accept_vector(known.recipe, known.vector)

    assert verified.recipe == known.recipe.name


@every_signed_vector
def test_vector_is_signed_again_with_the_same_signature(known: Known) -> None:
    signed = sign_again(known.recipe, known.vector)

    assert signed.signature == known.slots()[known.recipe.signature.name]
    assert known.vector.string_to_sign in ("", to_text(signed.evaluation.string_to_sign))


@every_signed_vector
def test_vector_with_a_changed_signed_part_is_rejected(known: Known) -> None:
    accepted = [name for name, request in _changes(known) if known.is_accepted(request)]

    assert accepted == []


@every_vector
def test_vector_with_another_secret_is_rejected(known: Known) -> None:
    other = replace(known.vector, credential=secret("another secret", known.vector.credential.key))

    with pytest.raises(CallerError):
        accept_vector(known.recipe, other)


def _changes(known: Known) -> Iterator[tuple[str, Request]]:
    """Yield the request with a change to each part that the recipe or the client's list of headers covers."""
    request, covered = known.request, known.recipe.signed
    if "method" in covered:
        yield "method", replace(request, method="PUT")
    if "path" in covered:
        path, question, query = request.target.partition("?")
        yield "path", replace(request, target=f"{path}x{question}{query}")
    if "query" in covered:
        yield "query", replace(request, target=request.target + ("&" if "?" in request.target else "?") + "zz=1")
    if "host" in covered:
        yield "host", _with_header(request, "host", "elsewhere.example")
    kind = known.vector.message.body_kind
    if covered & {"body", kind} and request.body and known.slots().get("digest") != "UNSIGNED-PAYLOAD":
        yield "body", replace(request, body=request.body + (b"&zz=1" if kind == "form" else b" "))
    for name in _listed(known):
        yield name, _with_header(request, name, f"{request.header(name)}x")


def _listed(known: Known) -> list[str]:
    lists = [slot for slot in known.recipe.slots.values() if isinstance(slot, ChosenSlot)]
    return [name for slot in lists for name in known.slots()[slot.name].split(slot.sep)]


def _with_header(request: Request, name: str, value: str) -> Request:
    others = tuple(header for header in request.headers if header[0].lower() != name.lower())
    return replace(request, headers=(*others, (name, value)))
