"""What a provider file is once it is loaded: one vendor's metric API, in both roles. Fields are named as YAML keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.core.expression import Expression
from gateway.core.expression.compiler import Text
from gateway.core.http.received import BodyKind
from gateway.core.outcome.outcome import Code, OnFailure, Reason
from gateway.core.points.rules import Rule
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.sending.rate_limit import UNPACED, Pace
from gateway.core.vendor.matching import ANY_REQUEST, RequestMatcher


@dataclass(frozen=True, slots=True)
class RequestMatch:
    """A call that the vendor's reporters make. `path` has a `{name}` for each segment that it captures.

    `match` tells it from other calls of that method and path. `local_call` is set for a call that the gateway answers
    without an upstream.
    """

    name: str
    method: str
    path: str
    body: BodyKind
    input: Expression | None
    local_call: "LocalCall | None" = None
    match: RequestMatcher = ANY_REQUEST


@dataclass(frozen=True, slots=True)
class RejectRule:
    """A condition that rejects a report (`reject_report`) or one item (`reject_item`)."""

    when: Expression
    reason: Reason
    text: Text


@dataclass(frozen=True, slots=True)
class Level:
    """One of the nested lists that hold the items; the last is named `item`. `source` is the expression as written."""

    name: str
    items: Expression
    source: str


@dataclass(frozen=True, slots=True)
class PointField:
    """How one field of a data point is read from an item. `source` is the expression as written, where it is text."""

    name: str
    value: Expression
    source: str


@dataclass(frozen=True, slots=True)
class Shape:
    """One form of a reply. `json` and `text` exclude each other; without either the body is empty."""

    when: Expression | None
    status: Expression
    headers: tuple[tuple[str, Text], ...]
    json: Expression | None
    text: Text | None


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One row of `errors`: this vendor's words, and what differs from the `error` shape."""

    words: Mapping[str, Any]
    when: Expression | None
    status: int | None
    headers: tuple[tuple[str, Text], ...] | None
    json: Expression | None
    text: Text | None


@dataclass(frozen=True, slots=True)
class Replies:
    """How this vendor answers. `errors` maps a reason, a code or `default` to rows: the first whose `when` holds."""

    ok: tuple[Shape, ...]
    partial: tuple[Shape, ...]
    error: tuple[Shape, ...]
    errors: Mapping[str, tuple[ErrorRow, ...]]


@dataclass(frozen=True, slots=True)
class LocalCall:
    """A call without data points. `issues` names the recipe whose secret it gives out, good for `lifetime_s`; `ends`
    the one whose secret, captured from the path as `token`, it ends. Without `verify` nobody is asked who they are.
    """

    verify: tuple[Recipe, ...]
    issues: str | None
    ends: str | None
    lifetime_s: float
    reply: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Receive:
    """The role of the vendor: what its reporters send, and what they are answered.

    That of a relay has neither `each` nor `point`: its requests hold no data points. `reads` are the parts of a request
    that its expressions read: `query`, `header.NAME`, and a body by its kinds. `known` are the members of `body` and of
    `item` that anything reads; one of both that is read as a whole is not there.
    """

    requests: tuple[RequestMatch, ...]
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


@dataclass(frozen=True, slots=True)
class CallForm:
    """How one upstream call is built. At most one of `json`, `form` and `text` is present."""

    name: str
    method: str
    path: Text
    query: Expression | None
    headers: tuple[tuple[str, Text], ...]
    json: Expression | None
    form: Expression | None
    text: Text | None
    sign: tuple[Recipe, ...]


@dataclass(frozen=True, slots=True)
class RejectedItemsRule:
    """Where an answer names the items that were refused: `each` gives a list, whose elements the others see.

    `index` counts the items of the call from 0; `same` is what the item's form holds.
    """

    each: Expression
    index: Expression | None
    same: Expression | None
    message: Expression | None


@dataclass(frozen=True, slots=True)
class OutcomeRule:
    """One rule that judges an answer: the first whose `status` and `when` hold counts.

    `of` looks the value up in `codes`, exactly or by a prefix that ends in `*`.
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
    """How a session is got: `form`, signed by `sign`, is answered with the `token` that `for_recipe` carries."""

    for_recipe: Recipe
    url: Text | None
    form: CallForm
    sign: Recipe
    token: Expression
    lifetime_s: float


@dataclass(frozen=True, slots=True)
class Declare:
    """What is declared before the first data point of each combination of `unique_by` values: `item` builds one
    declaration, `request` carries them, `outcome` judges its answer.
    """

    unique_by: Expression
    item: Expression
    request: CallForm
    outcome: tuple[OutcomeRule, ...]


@dataclass(frozen=True, slots=True)
class Poll:
    """How to ask after a call whose answer was not the last word. `sign`: a recipe, the call's own, or none."""

    every_s: float
    sign: Recipe | Literal["own", "none"]


@dataclass(frozen=True, slots=True)
class Send:
    """The role of the vendor's reporter: how data points become calls, and what the answers mean.

    That of a relay has only `requests` and `login`: its answers are passed on, whatever they mean.
    """

    group_by: Mapping[str, Expression]
    item: Expression
    requests: tuple[CallForm, ...]
    outcome: tuple[OutcomeRule, ...]
    login: Login | None = None
    poll: Poll | None = None
    declare: Declare | None = None

    def login_for(self, credential: Credential | None) -> Login | None:
        """Return the login where the credential is meant for it, and so not for what carries the session."""
        login = self.login
        if login is None or credential is None or login.sign.needs_key != (credential.key is not None):
            return None
        names_it = credential.recipe in (login.for_recipe.name, login.sign.name)
        serves_no_call = credential.recipe is None and not any(
            credential.serves(recipe) for form in self.requests for recipe in form.sign
        )
        return login if names_it or serves_no_call else None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may hold; more is split. `bytes` counts the body as sent, signature included.

    `ordered` lets one call of a group be under way at a time, `concurrency` so many of a target. `pace` is waited for.
    """

    points: int | None = None
    bytes: int | None = None
    ordered: bool = False
    concurrency: int | None = None
    pace: Pace = UNPACED


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Provider:
    """One vendor's metric API. `needs` are the `given` names that a route must fill in to send.

    With `relay` its calls are no reports: a request becomes a request, and the answer to it is passed on as it is.
    `attribute_names` are the attributes that its mappings read or write by name.
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
