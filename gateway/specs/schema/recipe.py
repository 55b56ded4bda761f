"""The keys of a recipe, and of its test vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from gateway.core.http.received import ReceivedRequest, guess_body_kind
from gateway.core.http.request import PublicUrl, Secret
from gateway.core.http.text import parse_request
from gateway.core.moments import NS
from gateway.core.recipe.dataflow import masked_names, reads_body, signed_names, signed_parts
from gateway.core.recipe.filters import Kind
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Carrier, KeySlot, NonceSlot, Recipe, SignatureSlot, Slot, Step, TimeSlot
from gateway.core.recipe.syntax import REQUEST_NAMES, Template
from gateway.core.text import did_you_mean
from gateway.proof.vectors import Vector
from gateway.specs.binding import types as t
from gateway.specs.binding.place import Place, Scope
from gateway.specs.binding.table import Key, Table, optional, read_document
from gateway.specs.check.recipe import check_recipe
from gateway.specs.schema.slots import SLOTS, TEMPLATE, with_chars
from gateway.specs.schema.steps import CARRIERS, STEPS
from gateway.specs.yaml.document import Document


def build_recipe(document: Document) -> tuple[Recipe, list[Vector]] | None:
    """Return the recipe and its vectors, or None when the document has errors; they are reported."""
    place = Place(Scope(document), document.node)
    place.scope.slot_names = place.keys("slots")
    place.scope.kinds = {**REQUEST_NAMES, "secret": Kind.TEXT, **dict.fromkeys(place.scope.slot_names, Kind.TEXT)}
    recipe: tuple[Recipe, list[Vector]] | None = read_document(RECIPE, place)
    return recipe


_SLOT_MAP = t.map_of(t.by_kind(*SLOTS), t.MEMBER_NAME)


def _read_slots(place: Place) -> dict[str, Slot]:
    for name in sorted(place.entries.keys() & {*REQUEST_NAMES, "secret"}):
        place.error(f"{name!r} is already the name of a slot or of a part of the request", "", name, at_key=True)
    place.scope.slots = {name: with_chars(slot) for name, slot in _SLOT_MAP.read(place).items()}
    return place.scope.slots


def _read_binding(place: Place) -> dict[str, Template]:
    bound: dict[str, Template] = t.map_of(TEMPLATE, t.MEMBER_NAME).read(place)
    known = {"host", "path", *(place.scope.kinds.keys() - REQUEST_NAMES.keys() - place.scope.slot_names - {"secret"})}
    for name in bound:
        if name not in known:
            place.error(f"{name!r} cannot have another binding", did_you_mean(name, known), name)
    return bound


def _vector(
    at: Place, request: str, url: PublicUrl | None, key: str | None, secret: str, now: float, **keys: Any
) -> Vector:
    try:
        parsed, _ = parse_request(request.encode())
    except ValueError as error:
        raise at.invalid(str(error), "", "request") from None
    parsed = parsed if url is None else replace(parsed, scheme=url.scheme)
    message = ReceivedRequest(parsed, guess_body_kind(parsed))
    return Vector(message=message, credential=Credential(Secret(secret), key), now_ns=int(now * NS), **keys)


VECTOR = Table(
    "vector",
    _vector,
    Key("vector", t.TEXT, "the name", to="name"),
    Key("source", t.TEXT, "where the vector comes from"),
    Key("now", t.number(at_least=0), "the clock, in epoch seconds"),
    optional("key", t.TEXT, "the key id of a credential that gives access to nothing"),
    Key("secret", t.TEXT, "its secret. A public key is only verified"),
    optional("given", t.map_of(t.TEXT), "values of slots of kind given", {}),
    optional("url", t.BASE_URL, "`http[s]://HOST`, if the scheme signs the whole URL"),
    Key("request", t.TEXT, "the signed request as text"),
    optional("string_to_sign", t.TEXT, "the signed text, if the source prints it", ""),
)


def _recipe(
    at: Place, replay: Literal["signature", "none"] | Sequence[str] | None, vectors: Sequence[Vector], **keys: Any
) -> tuple[Recipe, list[Vector]]:
    slots, carriers, steps, accept = (keys[name] for name in ("slots", "carriers", "steps", "accept"))
    if not at.scope.document.errors:
        check_recipe(at, slots, carriers, steps, accept)
    built = Recipe(
        **keys,
        replay=_replay(at, replay, slots, carriers, steps),
        masked=masked_names(slots, steps),
        signed=signed_parts(slots, carriers, steps),
        reads_body=reads_body(slots, carriers, steps, accept),
    )
    return built, list(vectors)


SLOT_MAP = t.Plain("map of slot", _read_slots, _SLOT_MAP.json)
BINDING = t.Plain("map of template", _read_binding, t.map_of(TEMPLATE, t.MEMBER_NAME).json)
REPLAY = t.list_or("`none`, `signature`, or list of slots", t.list_of(t.TEXT), t.word(("signature", "none")))
RECIPE = Table(
    "recipe",
    _recipe,
    Key("recipe", t.NAME, "the name", to="name"),
    optional("steps", STEPS, "values computed from slots, other steps and the request, see [steps](#steps)", {}),
    Key("slots", SLOT_MAP, "values that are transmitted or needed, see [slots](#slots)"),
    Key("carry", CARRIERS, "where the slots are transmitted, see [carriers](#carriers)", to="carriers"),
    optional("accept", t.list_of(BINDING, at_most=8), "alternatives of `host`, `path` or steps to verify with", ()),
    optional("replay", REPLAY, "slots whose combination is accepted only once"),
    optional("vectors", t.list_of(VECTOR), "signed requests that `check` verifies and signs again", ()),
)


def _replay(
    at: Place,
    policy: Literal["signature", "none"] | Sequence[str] | None,
    slots: Mapping[str, Slot],
    carriers: Sequence[Carrier],
    steps: Mapping[str, Step],
) -> tuple[str, ...]:
    if policy == "none":
        return ()
    if policy == "signature":
        return tuple(name for name, slot in slots.items() if isinstance(slot, KeySlot | SignatureSlot))
    if policy is not None:
        for index, name in enumerate(policy):
            if name not in slots:
                at.error(f"no slot is named {name!r}", did_you_mean(name, slots), "replay", index)
        return tuple(policy)
    covered, read = signed_parts(slots, tuple(carriers), steps), signed_names(slots, steps)
    left_out = {name for step in (steps.get(each) for each in read) for name in getattr(step, "except_names", ())}
    parts_of = {"query": {"query"}, "form": {"form", "body"}, "json": {"json", "body"}}
    parts_of["param"] = parts_of["query"] | parts_of["form"] | parts_of["json"]
    signed = set(read)
    for carrier in carriers:
        parts = {f"header.{carrier.name.lower()}"} if carrier.place == "header" else parts_of[carrier.place]
        signed |= carrier.slots if parts & covered and carrier.name not in left_out else set()
    if any(isinstance(slot, NonceSlot) and name in signed for name, slot in slots.items()):
        return tuple(name for name, slot in slots.items() if isinstance(slot, KeySlot | NonceSlot | TimeSlot))
    return ()
