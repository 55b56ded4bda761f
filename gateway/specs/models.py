"""Every key that a spec may hold, and the type of its value. What the values mean is checked in the `build_` modules.

`Tree` is where JMESPath stands: text, or a map or list of it. Field names are the YAML's keys.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from gateway.core.model import Secret
from gateway.core.outcome import Code, Reason

Tree = Any
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
MemberName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
PointFieldName = Literal["namespace", "metric", "value", "stats", "unit", "time_ns", "attributes"]


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _secret(value: Any) -> Secret:
    if not isinstance(value, str) or not value:
        raise ValueError("a secret is text, and not empty")
    return Secret(value)


SecretText = Annotated[Any, PlainValidator(_secret)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


class Model(BaseModel):
    """Refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, arbitrary_types_allowed=True)


class KeySlotSpec(Model):
    kind: Literal["key"]
    chars: str | None = None


class SecretSlotSpec(Model):
    kind: Literal["secret"]
    chars: str | None = None


class GivenSlotSpec(Model):
    kind: Literal["given"]
    chars: str | None = None
    default: str | None = None
    optional: bool = False


class TimeSlotSpec(Model):
    kind: Literal["time"]
    chars: str | None = None
    format: str
    window_s: Annotated[float, Field(gt=0, le=3600)] = 300


class NonceSlotSpec(Model):
    kind: Literal["nonce"]
    chars: str | None = None
    make: str = "uuid4"


class SignatureSlotSpec(Model):
    kind: Literal["signature"]
    of: str
    hmac: Literal["sha1", "sha256", "sha512"]
    key: str
    as_: Literal["hex", "HEX", "base64", "base64url"] = Field(alias="as")


SlotSpec = Annotated[
    KeySlotSpec | SecretSlotSpec | GivenSlotSpec | TimeSlotSpec | NonceSlotSpec | SignatureSlotSpec,
    Field(discriminator="kind"),
]


class CarrierSpec(Model):
    header: str | None = None
    query: str | None = None
    form: str | None = None
    json_: str | None = Field(None, alias="json")
    param: str | None = None
    value: str
    type: Literal["text", "int"] = "text"
    optional: bool = False


class PairsSpec(Model):
    from_: Annotated[list[Literal["query", "form", "slots"]], BeforeValidator(_listed)] = Field(alias="from")
    slots: dict[str, str] = {}
    except_: list[str] = Field([], alias="except")
    key: str = ""
    value: str = ""
    sort: Literal["key", "pair", "item", "none"] = "key"
    item: str = "{k}={v}"
    item_empty: str | None = None
    skip_empty: bool = False
    join: str = "&"
    prefix: str = ""
    end: str = ""


class StepSpec(Model):
    text: str | None = None
    lines: list[str] | None = None
    pairs: PairsSpec | None = None


class RecipeSpec(Model):
    recipe: Name
    slots: dict[MemberName, SlotSpec]
    carry: list[CarrierSpec] = Field(min_length=1)
    steps: dict[MemberName, StepSpec] = {}
    accept: list[dict[Literal["host", "path"], str]] = Field([], max_length=8)
    replay: Literal["signature", "none"] | list[str] | None = None


class RuleSpec(Model):
    required: bool = False
    pattern: str | None = None
    max_chars: Count | None = None
    max_bytes: Count | None = None
    min: float | None = None
    max: float | None = None
    keys: str | list[str] | None = None
    integer: bool = False
    max_age_s: Positive | None = None
    max_ahead_s: Annotated[float, Field(ge=0)] | None = None
    else_: Literal["reject", "drop", "clamp"] = Field("reject", alias="else")
    fix: Tree = None


class LimitsSpec(Model):
    points: Count | None = None
    bytes: Count | None = None


class RefusalSpec(Model):
    when: Tree
    reason: Reason
    text: str


class RequestSpec(Model):
    method: Annotated[str, Field(pattern="^[A-Z]+$")]
    path: Annotated[str, Field(pattern="^/")]
    body: Literal["json", "form", "text", "none"] = "none"
    input: Tree = None


class ShapeSpec(Model):
    when: Tree = None
    status: Tree = 200
    headers: dict[str, str] = {}
    json_: Tree = Field(None, alias="json")
    text: str | None = None


class RepliesSpec(Model):
    ok: Annotated[list[ShapeSpec], BeforeValidator(_listed)]
    partial: Annotated[list[ShapeSpec], BeforeValidator(_listed)] = []
    error: Annotated[list[ShapeSpec], BeforeValidator(_listed)]
    errors: dict[str, Annotated[list[dict[str, Any]], BeforeValidator(_listed)]] = {}


class ReceiveSpec(Model):
    request: RequestSpec | None = None
    requests: dict[Name, RequestSpec] = {}
    verify: list[str] = Field(min_length=1)
    refuse: list[RefusalSpec] = []
    reject: list[RefusalSpec] = []
    each: dict[MemberName, Tree] = Field(min_length=1)
    point: dict[PointFieldName, Tree]
    empty: Literal["ok"] | None = None
    partial: Literal["whole", "point"] = "whole"
    replies: RepliesSpec | None = None


class CallSpec(Model):
    method: Annotated[str, Field(pattern="^[A-Z]+$")]
    path: str
    query: Tree = None
    headers: dict[str, str] = {}
    json_: Tree = Field(None, alias="json")
    form: Tree = None
    text: str | None = None
    sign: Annotated[list[str], BeforeValidator(_listed)] | None = None


class OutcomeRuleSpec(Model):
    status: Annotated[list[int], BeforeValidator(_listed)] = []
    when: Tree = None
    code: Code | None = None
    of: Tree = None
    codes: dict[Code, list[str | int]] = {}
    poll: Tree = None
    message: Tree = None


class SendSpec(Model):
    url: str | None = None
    one_per: list[PointFieldName] | dict[MemberName, Tree] = []
    item: Tree
    request: CallSpec | None = None
    requests: dict[Name, CallSpec] = {}
    sign: Annotated[list[str], BeforeValidator(_listed)] = []
    outcome: list[OutcomeRuleSpec] = []


class CaseSpec(Model):
    case: str
    now: Annotated[float, Field(ge=0)] = 1_700_000_000
    env: dict[str, str] = {}
    request: str | dict[str, Any] | None = None
    points: list[dict[str, Any]] | None = None
    sends: list[dict[str, Any]] | None = None
    answer: dict[str, Any] | None = None
    outcome: dict[str, Any] | None = None
    reply: dict[str, Any] | None = None


class ProviderSpec(Model):
    provider: Name
    title: str = ""
    needs: list[MemberName] = []
    given: dict[MemberName, Any] = {}
    url: str | None = None
    limits: LimitsSpec = LimitsSpec()
    rules: dict[PointFieldName, RuleSpec] = {}
    receive: ReceiveSpec | None = None
    send: SendSpec | None = None
    cases: list[CaseSpec] = []


class CredentialSpec(Model):
    key: str | None = Field(None, min_length=1)
    secret: SecretText
    recipe: str | None = None


class SourceSpec(Model):
    provider: str
    credentials: list[CredentialSpec] | Literal["none"]
    verify: list[str] | None = None
    given: dict[MemberName, Any] = {}
    rules: dict[PointFieldName, RuleSpec] = {}
    hide_unknown_keys: bool = False
    max_body_bytes: Count = 1_048_576
    read_timeout_s: Positive = 10


class TargetSpec(Model):
    provider: str
    url: str | None = None
    credential: CredentialSpec | None = None
    given: dict[MemberName, Any] = {}
    request: str | None = None
    sign: str | None = None
    rules: dict[PointFieldName, RuleSpec] = {}
    connect_timeout_s: Positive = 2


class PointsSpec(Model):
    keep: Tree = None
    set: dict[PointFieldName, Tree] = {}


class DeliverySpec(Model):
    mode: Literal["direct"] = "direct"
    timeout_s: Positive = 5


class RouteSpec(Model):
    route: Name
    receive: SourceSpec
    send: TargetSpec
    points: PointsSpec = PointsSpec()
    delivery: DeliverySpec = DeliverySpec()
    cases: list[CaseSpec] = []
