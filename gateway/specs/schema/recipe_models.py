"""Every key of a recipe, and the type of its value."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from gateway.specs.schema.model_types import Count, HashName, MemberName, Model, Name, Offset, listed


class SlotModel(Model):
    chars: str | None = None


class KeySlotSpec(SlotModel):
    kind: Literal["key"]


class SecretSlotSpec(SlotModel):
    kind: Literal["secret"]


class GivenSlotSpec(SlotModel):
    kind: Literal["given"]
    default: str | None = None
    optional: bool = False


class TimeSlotSpec(SlotModel):
    kind: Literal["time"]
    format: str
    tz: Offset = "utc"
    window_s: Annotated[float, Field(gt=0, le=3600)] = 300
    read: list[Offset | Literal["named"]] = Field([], max_length=4)
    zones: dict[str, Offset] = {}


class TimePartSlotSpec(SlotModel):
    kind: Literal["time_part"]
    of: str
    format: str
    tz: Offset = "utc"


class LifetimeSlotSpec(SlotModel):
    kind: Literal["lifetime"]
    default: Count = 1800


class NonceSlotSpec(SlotModel):
    kind: Literal["nonce"]
    make: str = "uuid4"


class ChooseSpec(Model):
    names: list[str] = []
    prefix: list[str] = []
    all: bool = False
    except_: list[str] = Field([], alias="except")
    order: Literal["sorted", "as_listed"] = "sorted"


class MustSpec(Model):
    any: list[list[str]] = Field(min_length=1)


class ChosenSlotSpec(SlotModel):
    kind: Literal["chosen"]
    choose: ChooseSpec
    must: list[str] | MustSpec
    sep: str = ";"
    wrap: str = ""
    empty: Literal["rule"] | None = None


class DerivedSlotSpec(SlotModel):
    kind: Literal["derived"]
    text: str
    allow: list[str] = []


class SignatureSlotSpec(SlotModel):
    kind: Literal["signature"]
    of: str
    hmac: HashName | None = None
    hash: HashName | None = None
    rsa: Literal["pkcs1-sha256", "pkcs1-sha512"] | None = None
    key: str | None = None
    as_: Literal["hex", "HEX", "base64", "base64url", "base64hex"] = Field(alias="as")


SlotSpec = Annotated[
    KeySlotSpec
    | SecretSlotSpec
    | GivenSlotSpec
    | TimeSlotSpec
    | TimePartSlotSpec
    | LifetimeSlotSpec
    | NonceSlotSpec
    | ChosenSlotSpec
    | DerivedSlotSpec
    | SignatureSlotSpec,
    Field(discriminator="kind"),
]


class CarrierSpec(Model):
    header: str | None = None
    query: str | None = None
    form: str | None = None
    json_: str | None = Field(None, alias="json")
    param: str | None = None
    value: str | None = None
    scheme: str | None = None
    params: dict[str, str] = {}
    sep: str = ", "
    quote: bool = False
    as_: Literal["base64"] | None = Field(None, alias="as")
    type: Literal["text", "int"] = "text"
    optional: bool = False


class PairsSpec(Model):
    from_: Annotated[list[Literal["query", "form", "json", "headers", "slots"]], BeforeValidator(listed)] = Field(
        alias="from"
    )
    slots: dict[str, str] = {}
    list_: str | None = Field(None, alias="list")
    choose: ChooseSpec | None = None
    pseudo: dict[str, str] = {}
    except_: list[str] = Field([], alias="except")
    key: str = ""
    value: str = ""
    sort: Literal["key", "pair", "item", "none"] = "key"
    item: str = "{k}={v}"
    item_empty: str | None = None
    skip_empty: bool = False
    skip_bare: bool = False
    join: str = "&"
    prefix: str = ""
    end: str = ""
    base: Literal[0, 1] = 0


class HmacSpec(Model):
    hash: HashName
    key: str
    of: str


class ChainSpec(Model):
    hash: HashName
    key: str
    of: list[str] = Field(min_length=1)


class StepSpec(Model):
    text: str | None = None
    lines: list[str] | None = None
    pairs: PairsSpec | None = None
    hmac: HmacSpec | None = None
    chain: ChainSpec | None = None


class VectorSpec(Model):
    vector: str
    source: str
    now: Annotated[float, Field(ge=0)]
    key: str | None = None
    secret: str
    given: dict[str, str] = {}
    url: str | None = None
    request: str
    string_to_sign: str | None = None


class RecipeSpec(Model):
    recipe: Name
    slots: dict[MemberName, SlotSpec]
    carry: list[CarrierSpec] = Field(min_length=1)
    steps: dict[MemberName, StepSpec] = {}
    accept: list[dict[MemberName, str]] = Field([], max_length=8)
    replay: Literal["signature", "none"] | list[str] | None = None
    vectors: list[VectorSpec] = []
