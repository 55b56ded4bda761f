"""Examples that vendors publish, compared step by step; the test id names the step."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.core.http.received import ReceivedRequest
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.recipe.carriers import read_slots
from gateway.core.recipe.evaluate import Evaluation
from gateway.core.recipe.filters import to_bytes, to_text
from gateway.core.recipe.model import ChainStep, Recipe
from gateway.core.recipe.sign import Signed, SigningContext, sign
from tests.core.recipe.vectors import RECIPES, document, secret

NS = 1_000_000_000
PUBLISHED = {case["id"]: case for case in document("published.json")["cases"]}
# The inputs and the source of a case; every other key is a step.
GIVEN = {"id", "scheme", "source", "access_key", "secret_key", "password", "body"} | {
    *("region", "service", "date", "timestamp"),
}


@dataclass(frozen=True)
class Step:
    """A step of a published example: the published value, and the recipe's."""

    case: str
    name: str
    printed: str
    made: str

    def __str__(self) -> str:
        return f"{self.case}-{self.name}"


def _steps(case: Mapping[str, Any], made: Mapping[str, str]) -> Iterator[Step]:
    for name, text in made.items():
        yield Step(case["id"], name, case[name], text)


def _signed(
    name: str,
    case: Mapping[str, Any],
    draft: UnsignedRequest,
    key: str,
    now: int,
    pinned: Mapping[str, str] | None = None,
) -> Signed:
    given = {name: case[name] for name in ("region", "service") if name in case}
    fresh = SigningContext(now * NS, bytes(16), pinned or {})
    return sign(draft, RECIPES[name], secret(case["secret_key"], key), given, fresh)


def _hashed(signed: Signed) -> dict[str, str]:
    canonical_request = to_text(signed.evaluation.steps["canonical_request"])
    return {
        "canonical_request": canonical_request,
        "hashed_canonical_request": hashlib.sha256(canonical_request.encode()).hexdigest(),
    }


def _tencent_tc3() -> Iterator[Step]:
    case = PUBLISHED["tc3-doc-2019-02-25"]
    headers = (("Content-Type", "application/json; charset=utf-8"),)
    draft = UnsignedRequest("POST", "https", "cvm.tencentcloudapi.com", "/", (), headers, "json", case["body"].encode())

    signed = _signed("tencent-tc3", case, draft, "AKID", case["timestamp"])

    yield from _steps(case, {**_hashed(signed), "signature": signed.signature})


def _tencent_v1() -> Iterator[Step]:
    case = PUBLISHED["v1-doc-describeinstances"]
    printed = dict(pair.split("=", 1) for pair in case["string_to_sign"].partition("?")[2].split("&"))
    slots = {name: printed.pop(name) for name in ("SecretId", "Timestamp", "Nonce")}
    draft = UnsignedRequest("GET", "https", "cvm.tencentcloudapi.com", "/", tuple(printed.items()))

    signed = _signed(
        "tencent-v1", case, draft, slots["SecretId"], int(slots["Timestamp"]), pinned={"nonce": slots["Nonce"]}
    )

    text = to_text(signed.evaluation.string_to_sign)
    yield from _steps(case, {"string_to_sign": text, "signature": signed.signature})


def _jdcloud2() -> Iterator[Step]:
    case = PUBLISHED["jdcloud2-doc-test"]
    query = (("o", "%"), ("p0", "p0"), ("p1", "p1"), ("u", "u"))
    headers = (("x-my-header", "test"), ("x-my-header_blank", "blank"))
    draft = UnsignedRequest(
        "POST", "https", "test.jdcloud-api.com", "/v1/resource:action", query, headers, "text", case["body"].encode()
    )
    chosen = "x-jdcloud-date;x-jdcloud-nonce;x-my-header;x-my-header_blank"
    now = int(datetime.strptime(case["date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())

    signed = _signed("jdcloud2", case, draft, case["access_key"], now, pinned={"nonce": "testnonce", "signed": chosen})

    chain = dict(zip(("kdate", "kregion", "kservice", "ksigning"), _links(signed, case["secret_key"]), strict=True))
    yield from _steps(case, {**_hashed(signed), **chain, "signature": signed.signature})


def _links(signed: Signed, secret_key: str) -> Iterator[str]:
    """Yield the digest of each link of the key chain."""
    recipe = RECIPES["jdcloud2"]
    message = ReceivedRequest(signed.request, "text")
    chain = recipe.steps["signing_key"]
    assert isinstance(chain, ChainStep)
    for end in range(1, len(chain.of) + 1):
        shorter = replace(recipe, steps={**recipe.steps, "signing_key": replace(chain, of=chain.of[:end])})
        yield to_bytes(Evaluation(shorter, message, read_slots(recipe, message), secret_key)["signing_key"]).hex()


def _zstack_password(recipe: Recipe) -> Iterator[Step]:
    case = PUBLISHED["zstack-doc-password"]
    draft = UnsignedRequest("PUT", "http", "localhost:8080", "/zstack/v1/accounts/login", body_kind="json", body={})

    signed = sign(draft, recipe, secret(case["password"], "admin"), {}, SigningContext(0, bytes(16)))

    yield Step(f"{case['id']}-{recipe.name}", "sha512_hex", case["sha512_hex"], signed.signature)


STEPS = [
    *_tencent_tc3(),
    *_tencent_v1(),
    *_jdcloud2(),
    *_zstack_password(RECIPES["zstack-login"]),
    *_zstack_password(RECIPES["zstack-login-old"]),
]


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_step_equals_the_published_value(step: Step) -> None:
    assert step.made == step.printed


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_step_is_compared(name: str) -> None:
    compared = {step.name for step in STEPS if step.case.startswith(name)}

    assert compared == PUBLISHED[name].keys() - GIVEN
