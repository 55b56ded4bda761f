from typing import Any

import pytest

from gateway.core.http.json import write_json
from gateway.core.http.received import BodyKind, ReceivedRequest
from gateway.core.http.request import Request
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.outcome.errors import CallerError, SpecError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.carriers import MAX_SLOT_CHARS, read_slots, write_slots
from gateway.core.recipe.model import Recipe
from tests.support.specs import recipe

SLOTS = {"key": "K1", "region": "sh", "signature": "ab12"}


def carrying(*carriers: str, region: str = "kind: given") -> Recipe:
    """Return a recipe with the slots key, region and signature. Slots without a carrier get one of the default ones."""
    named = "".join(carriers)
    rest = [
        f'{{header: x-own-{name}, value: "{{{name}}}"}}' for name in ("key", "signature") if f"{{{name}}}" not in named
    ]
    return recipe(f"""
recipe: acme
slots:
  key: {{kind: key}}
  region: {{{region}}}
  signature: {{kind: signature, of: x, hmac: sha256, key: "{{secret}}", as: hex}}
carry: [{", ".join([*carriers, *rest])}]
""")


ALL = '{header: authorization, value: "ACME {key}/{region}, Signature={signature}"}'
OWN = (("X-Own-Key", "K1"), ("X-Own-Signature", "ab12"))


def posted(
    *headers: tuple[str, str], target: str = "/", body: Any = None, form: bytes = b"", kind: BodyKind = "json"
) -> ReceivedRequest:
    data = write_json(body) if body is not None else form
    return ReceivedRequest(Request("POST", target, headers, data), kind)


@pytest.mark.parametrize(
    "value",
    ["ACME K1/sh, Signature=ab12", "ACME   K1/sh,  Signature=ab12", " ACME K1/sh, Signature=ab12\t"],
    ids=["as written", "runs of spaces", "spaces around"],
)
def test_slots_are_read_from_the_header(value: str):
    assert read_slots(carrying(ALL), posted(("AUTHORIZATION", value))) == SLOTS


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(posted(*OWN, body={"Signature": " ab12\n"}), id="JSON"),
        pytest.param(posted(*OWN, form=b"Signature=ab12%0D%0A", kind="form"), id="form"),
        pytest.param(posted(*OWN, target="/?Signature=ab12%0A", kind="none"), id="query"),
    ],
)
def test_whitespace_around_a_signature_is_stripped(message: ReceivedRequest):
    assert read_slots(carrying('{param: Signature, value: "{signature}"}'), message)["signature"] == "ab12"


@pytest.mark.parametrize(
    ("carrier", "message"),
    [
        pytest.param("query: Region", posted(*OWN, target="/?Region=sh"), id="query"),
        pytest.param("form: Region", posted(*OWN, form=b"Region=sh", kind="form"), id="form"),
        pytest.param("json: a.b", posted(*OWN, body={"a": {"b": "sh"}}), id="json"),
        pytest.param("param: Region", posted(*OWN, body={"Region": "sh"}), id="param of JSON"),
        pytest.param("param: Region", posted(*OWN, form=b"Region=sh", kind="form"), id="param of a form"),
        pytest.param("param: Region", posted(*OWN, target="/?Region=sh", kind="none"), id="param of a query"),
    ],
)
def test_slot_is_read_from_its_carriers_place(carrier: str, message: ReceivedRequest):
    assert read_slots(carrying(f'{{{carrier}, value: "{{region}}"}}'), message)["region"] == "sh"


NUMBER = 'kind: nonce, make: "int:1..99"'


def test_integer_in_json_is_read_as_its_digits():
    counting = carrying('{json: t, value: "{region}", type: int}', region=NUMBER)

    assert read_slots(counting, posted(*OWN, body={"t": 17}))["region"] == "17"


def test_optional_carrier_may_be_absent():
    found = read_slots(carrying('{header: x-region, value: "{region}", optional: true}'), posted(*OWN))

    assert "region" not in found


REGION = carrying('{query: Region, value: "r-{region}"}')
IN_JSON = carrying('{json: a.b, value: "{region}"}')
TWICE = carrying('{query: Region, value: "{region}"}', '{header: x-region, value: "{region}"}')


@pytest.mark.parametrize(
    ("recipe_", "message", "reason", "words"),
    [
        pytest.param(REGION, posted(*OWN), Reason.MISSING_CREDENTIALS, "the parameter Region is missing", id="absent"),
        pytest.param(
            carrying(ALL), posted(), Reason.MISSING_CREDENTIALS, "the header Authorization is missing", id="no header"
        ),
        pytest.param(
            carrying(ALL),
            posted(("Authorization", "Basic eDp5")),
            Reason.BAD_CREDENTIALS,
            "the header Authorization cannot be read",
            id="another scheme",
        ),
        pytest.param(
            carrying(ALL),
            posted(*[("Authorization", "ACME K1/sh, Signature=ab12")] * 2),
            Reason.BAD_CREDENTIALS,
            "the header Authorization is repeated",
            id="doubled header",
        ),
        pytest.param(
            REGION,
            posted(*OWN, target="/?Region=r-a&Region=r-a"),
            Reason.BAD_CREDENTIALS,
            "the parameter Region is repeated",
            id="doubled parameter",
        ),
        pytest.param(
            TWICE,
            posted(*OWN, ("X-Region", "gz"), target="/?Region=sh"),
            Reason.BAD_CREDENTIALS,
            "the header X-Region contradicts another place",
            id="two places disagree",
        ),
        pytest.param(REGION, posted(*OWN, target="/?Region=r-"), Reason.BAD_CREDENTIALS, "cannot be read", id="empty"),
        pytest.param(
            REGION,
            posted(*OWN, target="/?Region=r-a/b"),
            Reason.BAD_CREDENTIALS,
            "Region cannot be read",
            id="characters",
        ),
        pytest.param(
            REGION,
            posted(*OWN, target=f"/?Region=r-{'a' * MAX_SLOT_CHARS}"),
            Reason.BAD_CREDENTIALS,
            "Region cannot be read",
            id="too long",
        ),
        pytest.param(
            carrying(ALL),
            posted(("Authorization", "ACME K1/sh, Signature=AB12")),
            Reason.BAD_CREDENTIALS,
            "the header Authorization cannot be read",
            id="hex in upper case",
        ),
        *(
            pytest.param(
                IN_JSON,
                posted(*OWN, body={"a": {"b": value}}),
                Reason.BAD_CREDENTIALS,
                "the parameter a.b is neither text nor an integer",
                id=f"json {value}",
            )
            for value in (1.5, True, ["sh"], {"x": 1})
        ),
        *(
            pytest.param(
                IN_JSON, posted(*OWN, body=body), Reason.MISSING_CREDENTIALS, "a.b is missing", id=f"json {body}"
            )
            for body in ([], {"a": None}, {"a": "b"}, "a")
        ),
        pytest.param(IN_JSON, posted(*OWN, form=b"{"), Reason.NOT_PARSED, "the body is not JSON", id="broken JSON"),
    ],
)
def test_credentials_that_cannot_be_read_are_rejected(
    recipe_: Recipe, message: ReceivedRequest, reason: Reason, words: str
):
    with pytest.raises(CallerError) as caught:
        read_slots(recipe_, message)

    assert caught.value.outcome.reason is reason
    assert words in caught.value.outcome.message


def test_slot_carried_twice_may_agree():
    assert read_slots(TWICE, posted(*OWN, ("X-Region", "sh"), target="/?Region=sh"))["region"] == "sh"


@pytest.mark.parametrize(
    ("carrier", "draft", "made"),
    [
        pytest.param(
            "header: x-r", UnsignedRequest("GET", "http", "h", "/"), {"headers": (("x-r", "sh"),)}, id="header"
        ),
        pytest.param(
            "header: X-R",
            UnsignedRequest("GET", "http", "h", "/", headers=(("x-r", "old"), ("a", "b"))),
            {"headers": (("a", "b"), ("X-R", "sh"))},
            id="header in the place of another",
        ),
        pytest.param(
            "query: r",
            UnsignedRequest("GET", "http", "h", "/", (("r", "old"), ("a", "b"))),
            {"query": (("a", "b"), ("r", "sh"))},
            id="query",
        ),
        pytest.param(
            "param: r", UnsignedRequest("GET", "http", "h", "/"), {"query": (("r", "sh"),)}, id="param of no body"
        ),
        pytest.param(
            "param: r",
            UnsignedRequest("P", "http", "h", "/", body_kind="json", body={"a": 1}),
            {"body": {"a": 1, "r": "sh"}},
            id="param of JSON",
        ),
        pytest.param(
            "param: r",
            UnsignedRequest("P", "http", "h", "/", body_kind="form", body=(("r", "old"), ("a", "b"))),
            {"body": (("a", "b"), ("r", "sh"))},
            id="param of a form",
        ),
        pytest.param(
            "json: a.b.c",
            UnsignedRequest("P", "http", "h", "/", body_kind="json", body={"a": {"x": 1}}),
            {"body": {"a": {"x": 1, "b": {"c": "sh"}}}},
            id="dotted name",
        ),
    ],
)
def test_slot_is_written_at_its_carriers_place(carrier: str, draft: UnsignedRequest, made: dict[str, Any]):
    (written,) = (each for each in carrying(f'{{{carrier}, value: "{{region}}"}}').carriers if "region" in each.slots)

    signed = write_slots([written], draft, SLOTS)

    assert {name: getattr(signed, name) for name in made} == made


def test_int_carrier_writes_a_number_into_json():
    (first, *_) = carrying('{param: t, value: "{region}", type: int}', region=NUMBER).carriers

    assert write_slots([first], UnsignedRequest("P", "http", "h", "/", body_kind="json"), {"region": "17"}).body == {
        "t": 17
    }


@pytest.mark.parametrize("body", [["a"], {"a": "text"}], ids=["a list", "text on the way"])
def test_body_without_a_place_for_a_slot_is_a_spec_error(body: Any):
    (first, *_) = carrying('{json: a.b, value: "{region}"}').carriers

    with pytest.raises(SpecError, match="the body has no place for"):
        write_slots([first], UnsignedRequest("P", "http", "h", "/", body_kind="json", body=body), SLOTS)
