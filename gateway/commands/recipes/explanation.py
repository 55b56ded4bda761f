"""The values that a recipe computes for one request, and the verdict. `explain` prints them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.core.http.received import ReceivedRequest
from gateway.core.moments import NS
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.carriers import read_slots
from gateway.core.recipe.evaluate import Evaluation
from gateway.core.recipe.filters import to_text
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.syntax import Template
from gateway.core.recipe.times import read_times
from gateway.core.recipe.verify import NoReplayCheck, Verifier, verify
from gateway.proof.diagnose import cause_of_rejection

MASK = "***"
CONTEXT_CHARS = 24


@dataclass(frozen=True, slots=True)
class Value:
    """A value that leads to the signature: a `slot` that the request carries, a `step`, or a `result`."""

    kind: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The values of a request, and why it is rejected; `rejected` is None when it is accepted.

    `bound` are the request names to which the recipe's `accept` gave other values before the signature matched.
    """

    values: tuple[Value, ...] = ()
    string_to_sign: str = ""
    bound: Mapping[str, str] | None = None
    rejected: str | None = None


def explain_request(
    recipe: Recipe, message: ReceivedRequest, credential: Credential, given: Mapping[str, str], now_ns: int
) -> Explanation:
    """Evaluate and verify a request by a recipe. No value but the signature depends on the secret."""
    try:
        slots = read_slots(recipe, message)
        bound, evaluation = _matching(recipe, message, slots, credential)
        check = Verifier(recipe, make_keyring([credential]), given)
        rejected = _rejection(check, message, credential, slots, now_ns)
    except CallerError as error:
        return Explanation(rejected=_words(error))
    if rejected == f"{Reason.BAD_SIGNATURE}: the signature does not match" and recipe.signature:
        rejected += f": the request has {slots[recipe.signature.name]}, the recipe makes {evaluation.signature}"
        cause = cause_of_rejection(recipe, message, slots, [credential.secret.reveal()], now_ns=now_ns)
        rejected += f"; {cause}"
    sources = {name: template.source for name, template in bound.items()} or None
    return Explanation(_values(recipe, slots, evaluation), string_to_sign(evaluation), sources, rejected)


def string_to_sign(evaluation: Evaluation | None) -> str:
    """Return the string to sign, masked if it depends on the secret; empty for an unsigned call."""
    if evaluation is None or evaluation.recipe.signature is None:
        return ""
    hides = evaluation.recipe.signature.of.names & {"secret", *evaluation.recipe.masked}
    return MASK if hides else to_text(evaluation.string_to_sign)


def _matching(
    recipe: Recipe, message: ReceivedRequest, slots: Mapping[str, str], credential: Credential
) -> tuple[Mapping[str, Template], Evaluation]:
    """Return the entry of `accept` under which the signature matches, otherwise an empty one."""
    secret = credential.secret.reveal()
    plain = Evaluation(recipe, message, slots, secret)
    carried = slots.get(recipe.signature.name) if recipe.signature else None
    if carried != plain.signature:
        for bound in recipe.accept:
            evaluation = Evaluation(recipe, message, slots, secret, bound)
            if carried == evaluation.signature:
                return bound, evaluation
    return {}, plain


def _rejection(
    check: Verifier, message: ReceivedRequest, credential: Credential, slots: Mapping[str, str], now_ns: int
) -> str | None:
    key = slots.get(check.recipe.key.name) if check.recipe.key else None
    if key != credential.key:
        return f"{Reason.UNKNOWN_KEY}: the request has the key id {key!r}, and --key is {credential.key!r}"
    error = _error(check, message, now_ns)
    if error is None or error.outcome.reason is not Reason.STALE:
        return _words(error) if error else None
    assert check.recipe.time is not None
    time_ns = read_times(slots[check.recipe.time.name], check.recipe.time)[0]
    other = _error(check, message, time_ns)
    then = "is accepted" if other is None else f"is rejected too: {_words(other)}"
    return f"{_words(error)}; at its own time (--at {time_ns // NS}) it {then}"


def _error(check: Verifier, message: ReceivedRequest, now_ns: int) -> CallerError | None:
    try:
        verify(message, [check], now_ns=now_ns, replays=NoReplayCheck())
    except CallerError as error:
        return error
    return None


def _words(error: CallerError) -> str:
    return f"{error.outcome.reason}: {error.outcome.message}"


def _values(recipe: Recipe, slots: Mapping[str, str], evaluation: Evaluation) -> tuple[Value, ...]:
    hidden = recipe.masked | ({recipe.secret.name} if recipe.secret else set())
    signature = recipe.signature
    values = [Value("slot", name, text) for name, text in slots.items()]
    for name, value in evaluation.steps.items():
        if signature is None or signature.of.source != f"{{{name}}}":  # otherwise it is the string to sign, see below
            values.append(Value("step", name, to_text(value)))
    values = [replace(value, text=MASK) if value.name in hidden else value for value in values]
    if signature is not None:
        values.append(Value("result", "string to sign", string_to_sign(evaluation)))
        values.append(Value("result", "signature", evaluation.signature))
    return tuple(values)


def first_difference(ours: str, theirs: str) -> str | None:
    """Describe the first difference of the two strings to sign. A line end at the end of `theirs` does not count."""
    if ours in (theirs, theirs.removesuffix("\n"), theirs.removesuffix("\r\n")):
        return None
    differing = (at for at, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other)
    at = next(differing, min(len(ours), len(theirs)))
    before = ours[:at]
    number, column = before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1
    return f"line {number}, character {column}: ours has {_around(ours, at)}, the client's has {_around(theirs, at)}"


def _around(text: str, at: int) -> str:
    return repr(text[at : at + CONTEXT_CHARS]) if at < len(text) else "its end"
