"""A loaded provider: one vendor's metric API in both roles. Fields have the names of their YAML keys."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.core.expression import Expression
from gateway.core.expression.compiler import Text
from gateway.core.http.received import BodyKind
from gateway.core.outcome.outcome import Code, OnFailure, Reason
from gateway.core.points.point import DataPoint
from gateway.core.points.rules import Rule
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.sending.rate_limit import UNPACED, Pace
from gateway.core.vendor.matching import ANY_REQUEST, RequestMatcher


@dataclass(frozen=True, slots=True)
class RequestForm:
    """A call of the vendor's reporters. `path` has a `{name}` for each captured segment, `{name*}` for all to its end.

    `match` selects among calls of equal method and path. `local_call` is set if the gateway answers the call itself.
    """

    name: str
    method: str
    path: str
    body: BodyKind
    input: Expression | None
    local_call: "LocalCall | None" = None
    match: RequestMatcher = ANY_REQUEST
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class RejectRule:
    """A condition that rejects a report (`reject_report`) or one item (`reject_item`)."""

    when: Expression
    reason: Reason
    text: Text


@dataclass(frozen=True, slots=True)
class Level:
    """One of the nested lists of items; the innermost is named `item`. `path` names the list in messages."""

    name: str
    items: Expression
    path: str


@dataclass(frozen=True, slots=True)
class PointField:
    """The expression for one field of a data point, and the reader of its value. `path` names its source in messages.

    `is_shared` marks a field that reads no level: its value is the same for all items of a report. `position` is that
    of the argument of DataPoint.
    """

    name: str
    value: Expression
    read: Callable[[Any], Any]
    path: str
    is_shared: bool
    position: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "position", DataPoint.__match_args__.index(self.name))


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape of a reply. At most one of `json` and `text` is set; without either the body is empty."""

    when: Expression | None
    status: Expression | None
    headers: tuple[tuple[str, Text], ...]
    json: Expression | None
    text: Text | None


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One row of `errors`: the vendor's codes and messages, and fields that override the `error` shape."""

    words: Mapping[str, Any]
    when: Expression | None
    status: int | None
    headers: tuple[tuple[str, Text], ...] | None
    json: Expression | None
    text: Text | None


@dataclass(frozen=True, slots=True)
class Replies:
    """The vendor's replies. `errors` maps a reason, a code or `default` to rows; the first matching `when` wins."""

    ok: tuple[Shape, ...]
    partial: tuple[Shape, ...]
    error: tuple[Shape, ...]
    errors: Mapping[str, tuple[ErrorRow, ...]]


@dataclass(frozen=True, slots=True)
class LocalCall:
    """A call without data points that the gateway answers itself.

    `issues` names the recipe of the session that it issues for `lifetime_s`. `ends` names the recipe of the session
    that it revokes, captured from the path as `token`. Without `verify` it accepts any caller.
    """

    verify: tuple[Recipe, ...]
    issues: str | None
    ends: str | None
    lifetime_s: float
    reply: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Receive:
    """The role of the vendor: the requests of its reporters, and its replies. A relay has no `each` and no `point`.

    `reads` lists the parts of a request that expressions read: `query`, `header.NAME`, and the body by its kinds.
    `known` lists the members of `body` and `item` that expressions read, unless an expression reads the whole value.
    `headers` maps the members of `headers` that expressions read to names of headers, None if they may read any.
    `shared` and `own` are the fields of `point` that are the same for all items of a report, and the others.
    """

    requests: tuple[RequestForm, ...]
    verify: tuple[Recipe, ...]
    reject_report: tuple[RejectRule, ...]
    reject_item: tuple[RejectRule, ...]
    each: tuple[Level, ...]
    point: tuple[PointField, ...]
    allow_empty: bool
    on_bad_item: Literal["reject_report", "reject_item"]
    replies: Replies | None
    reads: frozenset[str] = frozenset()
    known: Mapping[str, frozenset[str]] = field(default_factory=dict)
    headers: Mapping[str, str] | None = None
    shared: tuple[PointField, ...] = field(init=False)
    own: tuple[PointField, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shared", tuple(form for form in self.point if form.is_shared))
        object.__setattr__(self, "own", tuple(form for form in self.point if not form.is_shared))

    @property
    def local_recipes(self) -> list[Recipe]:
        """The recipes that verify local calls."""
        return [recipe for form in self.requests if form.local_call for recipe in form.local_call.verify]


@dataclass(frozen=True, slots=True)
class CallForm:
    """The description of an upstream call. At most one of `json`, `form` and `text` is set.

    `reads_points` is False if no expression reads `points`.
    """

    name: str
    method: str
    path: Text
    query: Expression | None
    headers: tuple[tuple[str, Text], ...]
    json: Expression | None
    form: Expression | None
    text: Text | None
    sign: tuple[Recipe, ...]
    reads_points: bool = True


@dataclass(frozen=True, slots=True)
class RejectedItemsRule:
    """Where an answer names rejected items: `each` returns a list, and the other expressions see one element.

    `index` is an item's position in the call, from 0; `same` returns members of the item's form.
    """

    each: Expression
    index: Expression | None
    same: Expression | None
    message: Expression | None


@dataclass(frozen=True, slots=True)
class OutcomeRule:
    """A rule that classifies answers with one of `status`, if `when` is true.

    The value of `of` is looked up in `codes`: in `exact`, then in `prefixes`, longest first.
    """

    status: frozenset[int]
    when: Expression | None
    code: Code | None
    of: Expression | None
    exact: Mapping[str, Code]
    prefixes: tuple[tuple[str, Code], ...]
    poll: Expression | None
    message: Expression | None
    rejected: RejectedItemsRule | None = None
    on_failure: OnFailure | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """A login: the answer to `form`, signed by `sign`, contains the `token` that `for_recipe` carries."""

    for_recipe: Recipe
    url: Text | None
    form: CallForm
    sign: Recipe
    token: Expression
    lifetime_s: float


@dataclass(frozen=True, slots=True)
class Declare:
    """The declaration of each new combination of `unique_by` values before its first data point.

    `item` builds one declaration, `request` carries several, and `outcome` classifies the answer.
    """

    unique_by: Expression
    item: Expression
    request: CallForm
    outcome: tuple[OutcomeRule, ...]


@dataclass(frozen=True, slots=True)
class Poll:
    """How to poll an asynchronous call for its result. `sign` is a recipe, the recipe of the call, or none."""

    every_s: float
    sign: Recipe | Literal["own", "none"]


@dataclass(frozen=True, slots=True)
class Send:
    """The role of the vendor's reporter: build calls and classify answers. A relay has only `requests` and `login`."""

    group_by: Mapping[str, Expression]
    item: Expression
    requests: tuple[CallForm, ...]
    outcome: tuple[OutcomeRule, ...]
    login: Login | None = None
    poll: Poll | None = None
    declare: Declare | None = None

    def login_for(self, credential: Credential | None) -> Login | None:
        """Return the login if the credential is for logging in, not for signing calls."""
        login = self.login
        if login is None or credential is None or (login.sign.key is None) != (credential.key is None):
            return None
        names_it = credential.recipe in (login.for_recipe.name, login.sign.name)
        serves_no_call = credential.recipe is None and not any(
            credential.serves(recipe) for form in self.requests for recipe in form.sign
        )
        return login if names_it or serves_no_call else None


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one call and one target. `bytes` is the size of the signed body.

    `ordered` allows one call of a group in flight, `concurrency` that many calls of the target. `pace` is a rate limit.
    """

    points: int | None = None
    bytes: int | None = None
    ordered: bool = False
    concurrency: int | None = None
    pace: Pace = UNPACED


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True, eq=False)
class Provider:
    """One vendor's metric API. `needs` lists the `given` names that a sending route must set.

    With `relay`, requests and answers are passed on without data points. `attribute_names` lists the attributes that
    the mappings read or write by name.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    given: Mapping[str, Any]
    url: Text | None
    limits: Limits
    rules: Mapping[str, Rule]
    receive: Receive | None
    send: Send | None
    relay: bool = False
    attribute_names: frozenset[str] = frozenset()
