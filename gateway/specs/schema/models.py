"""Every key of a provider, a route and a case, and the type of its value. What values mean the `build_` modules check.

`Tree` is where JMESPath stands: text, or a map or list of it. Field names are the YAML's keys.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictInt, StrictStr

from gateway.core.outcome.outcome import Code, Reason
from gateway.specs.schema.model_types import (
    Count,
    Exact,
    MemberName,
    Model,
    Name,
    PointFieldName,
    Positive,
    SecretText,
    StatisticName,
    Tree,
    listed,
)


class RuleSpec(Model):
    required: bool = False
    pattern: str | None = None
    max_chars: Count | None = None
    max_bytes: Count | None = None
    min: Exact | None = None
    max: Exact | None = None
    keys: str | list[str] | None = None
    integer: bool = False
    max_age_s: Positive | None = None
    max_ahead_s: Annotated[float, Field(ge=0)] | None = None
    else_: Literal["reject", "drop", "clamp"] = Field("reject", alias="else")
    fix: Tree = None


class LimitsSpec(Model):
    points: Count | None = None
    bytes: Count | None = None
    requests_per_s: Positive | None = None
    points_per_s: Positive | None = None
    concurrency: Count | None = None
    ordered: bool = False


class RefusalSpec(Model):
    when: Tree
    reason: Reason
    text: str


Patterns = Annotated[list[str], Field(min_length=1), BeforeValidator(listed)]


class MatchSpec(Model):
    host: Patterns | None = None
    headers: dict[str, Patterns] = {}
    query: dict[str, Patterns] = {}
    type: Patterns | None = None


class RouteMatchSpec(MatchSpec):
    key: Patterns | None = None


class RequestSpec(Model):
    method: Annotated[str, Field(pattern="^[A-Z]+$")]
    path: Annotated[str, Field(pattern="^/")]
    match: MatchSpec = MatchSpec()
    body: Literal["json", "form", "text", "none"] = "none"
    input: Tree = None


class ShapeSpec(Model):
    when: Tree = None
    status: Tree = 200
    headers: dict[str, str] = {}
    json_: Tree = Field(None, alias="json")
    text: str | None = None


class RepliesSpec(Model):
    ok: Annotated[list[ShapeSpec], BeforeValidator(listed)] = []
    partial: Annotated[list[ShapeSpec], BeforeValidator(listed)] = []
    error: Annotated[list[ShapeSpec], BeforeValidator(listed)]
    errors: dict[str, Annotated[list[dict[str, Any]], BeforeValidator(listed)]] = {}


class LocalCallSpec(Model):
    request: RequestSpec
    verify: Annotated[list[str], BeforeValidator(listed)] = []
    issues: str | None = None
    ends: str | None = None
    lifetime_s: Positive = 7200
    reply: Annotated[list[ShapeSpec], BeforeValidator(listed)]


class ReceiveSpec(Model):
    request: RequestSpec | None = None
    requests: dict[Name, RequestSpec] = {}
    verify: list[str] = Field(min_length=1)
    reject_report: list[RefusalSpec] = []
    reject_item: list[RefusalSpec] = []
    each: dict[MemberName, Tree] = Field({}, min_length=1)
    point: dict[PointFieldName, Tree] = {}
    allow_empty: bool = False
    on_bad_item: Literal["reject_report", "reject_item"] = "reject_report"
    local_calls: dict[Name, LocalCallSpec] = {}
    replies: RepliesSpec | None = None


class CallSpec(Model):
    method: Annotated[str, Field(pattern="^[A-Z]+$")]
    path: str
    query: Tree = None
    headers: dict[str, str] = {}
    json_: Tree = Field(None, alias="json")
    form: Tree = None
    text: str | None = None
    sign: Annotated[list[str], BeforeValidator(listed)] | None = None


class RejectedSpec(Model):
    each: Tree
    index: Tree = None
    same: Tree = None
    message: Tree = None


class OutcomeRuleSpec(Model):
    status: Annotated[list[int], BeforeValidator(listed)] = []
    when: Tree = None
    code: Code | None = None
    of: Tree = None
    codes: dict[Code, list[StrictStr | StrictInt]] = {}
    poll: Tree = None
    message: Tree = None
    rejected: RejectedSpec | None = None
    on_failure: Literal["retry", "dead_letter", "pause"] | None = None


class LoginSpec(Model):
    for_: str = Field(alias="for")
    url: str | None = None
    request: CallSpec
    sign: str
    token: Tree
    lifetime_s: Positive


class DeclareSpec(Model):
    unique_by: list[Tree] = Field(min_length=1)
    item: Tree
    request: CallSpec
    outcome: list[OutcomeRuleSpec] = []


class PollSpec(Model):
    every_s: Annotated[float, Field(ge=0.05)]
    sign: str | None = None


class SendSpec(Model):
    url: str | None = None
    group_by: list[PointFieldName] | dict[MemberName, Tree] = []
    item: Tree = None
    request: CallSpec | None = None
    requests: dict[Name, CallSpec] = {}
    sign: Annotated[list[str], BeforeValidator(listed)] = []
    login: LoginSpec | None = None
    poll: PollSpec | None = None
    declare: DeclareSpec | None = None
    outcome: list[OutcomeRuleSpec] = []


class LoginCaseSpec(Model):
    sends: dict[str, Any] = {}
    answer: dict[str, Any] | None = None
    token: str | None = None


class CaseSpec(Model):
    case: str
    now: Annotated[float, Field(ge=0)] = 1_700_000_000
    env: dict[str, str] = {}
    request: str | dict[str, Any] | None = None
    points: list[dict[str, Any]] | None = None
    login: LoginCaseSpec | None = None
    declares: list[dict[str, Any]] | None = None
    sends: list[dict[str, Any]] | None = None
    answer: dict[str, Any] | None = None
    outcome: dict[str, Any] | None = None
    reply: dict[str, Any] | None = None


class ProviderSpec(Model):
    provider: Name
    title: str = ""
    relay: bool = False
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
    from_: Annotated[list[str] | None, Field(alias="from")] = None
    match: RouteMatchSpec = RouteMatchSpec()
    path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$")] = ""
    public_url: str | None = None
    hide_unknown_keys: bool = False
    max_body_bytes: Count = 1_048_576
    read_timeout_s: Positive = 10


class TlsSpec(Model):
    ca: str | None = Field(None, min_length=1)
    cert: str | None = Field(None, min_length=1)
    key: str | None = Field(None, min_length=1)
    strict: bool = True


class TargetSpec(Model):
    provider: str
    url: str | None = None
    credential: CredentialSpec | None = None
    given: dict[MemberName, Any] = {}
    request: str | None = None
    sign: str | None = None
    rules: dict[PointFieldName, RuleSpec] = {}
    limits: LimitsSpec = LimitsSpec()
    connect_timeout_s: Positive = 2
    tls: TlsSpec | None = None


class PointsSpec(Model):
    keep: Tree = None
    set: dict[PointFieldName, Tree] = {}
    stats: StatisticName | None = None
    allow_loss: list[PointFieldName] = []


class DeliverySpec(Model):
    mode: Literal["direct", "queued"] = "direct"
    timeout_s: Positive = 5
    coalesce: bool = True


class MirrorSpec(TargetSpec):
    mirror: Name
    delivery: DeliverySpec = DeliverySpec()


class RouteSpec(Model):
    route: Name
    receive: SourceSpec
    send: TargetSpec
    points: PointsSpec = PointsSpec()
    delivery: DeliverySpec = DeliverySpec()
    mirrors: list[MirrorSpec] = []
    cases: list[CaseSpec] = []
