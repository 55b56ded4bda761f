"""gateway explain: each step of a recipe for one request, and the verdict."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gateway.commands.arguments import options
from gateway.commands.arguments.loading import load_recipe
from gateway.commands.arguments.options import (
    STANDARD_INPUT,
    At,
    Given,
    Json,
    Key,
    RequestFile,
    SecretOption,
    SpecFolder,
)
from gateway.commands.output.errors import misuse
from gateway.commands.output.printing import MASK, heading, line, print_json, string_to_sign
from gateway.core.http.received import ReceivedRequest, guess_body_kind
from gateway.core.moments import NS
from gateway.core.outcome.errors import CallerError
from gateway.core.outcome.masking import mask_secrets
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

CONTEXT_CHARS = 24


def explain(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="The recipe's name.")],
    request: RequestFile,
    key: Key = None,
    secret: SecretOption = None,
    given: Given = None,
    at: At = None,
    url: Annotated[str | None, options.option("BASE", "The URL that the client signed, if a proxy hides it.")] = None,
    expect: Annotated[str | None, options.option("FILE", "The client's own string to sign, to compare with.")] = None,
    routes: SpecFolder = None,
    json: Json = False,
) -> None:
    """Show each step of a signature for one request, and the verdict.

    Values that depend on the secret are masked. Exits 0 when the request is accepted, 1 when it is rejected.

    \b
    Example:
      gateway explain acme-hmac --request report.http --key ID --secret env:KEY
    """
    if request == expect == STANDARD_INPUT:
        misuse("--request and --expect cannot both be standard input")
    clock, base = options.read_clock(at), None if url is None else options.base_url(url, "--url")
    chosen, credential, pins = load_recipe(routes, recipe, key, secret, given)
    if expect is not None and chosen.signature is None:
        misuse(f"--expect: {recipe} signs nothing")
    read = options.read_request(request)
    message = ReceivedRequest(read if base is None else read.at(base), guess_body_kind(read))
    explained = _explain(chosen, message, credential, pins, clock)
    if expect is not None:
        theirs = options.read_file(expect, "--expect").decode("utf-8", "surrogateescape")
        difference = _difference(explained, mask_secrets(theirs, [credential.secret]))
        explained |= {"same": difference is None, "difference": difference}
    if json:
        print_json(explained)
    else:
        _show(explained)
    raise typer.Exit(0 if explained["accepted"] else 1)


def _explain(
    recipe: Recipe, message: ReceivedRequest, credential: Credential, given: Mapping[str, str], now_ns: int
) -> dict[str, Any]:
    """Evaluate and verify a request by a recipe. The secret is masked, also where the client wrote it into a value.

    `values` lead to the signature: each `slot` that the request carries, each `step`, and each `result`. `bound` are
    the request names to which the recipe's `accept` gave other values before the signature matched.
    """
    values: list[dict[str, str]] = []
    bound: Mapping[str, Template] = {}
    rejected: str | None = None
    try:
        slots = read_slots(recipe, message)
        bound, evaluation = _matching(recipe, message, slots, credential)
        rejected = _rejection(Verifier(recipe, make_keyring([credential]), given), message, credential, slots, now_ns)
        values = _values(recipe, slots, evaluation)
        if rejected == f"{Reason.BAD_SIGNATURE}: the signature does not match" and recipe.signature:
            rejected += f": the request has {slots[recipe.signature.name]}, the recipe makes {evaluation.signature}; "
            rejected += cause_of_rejection(recipe, message, slots, [credential.secret.reveal()], now_ns=now_ns)
    except CallerError as error:
        rejected = _words(error)
    secrets = [credential.secret]
    return {
        "recipe": recipe.name,
        "values": [each | {"value": mask_secrets(each["value"], secrets)} for each in values],
        "bound": {name: template.source for name, template in bound.items()} or None,
        "accepted": rejected is None,
        "rejected": rejected and mask_secrets(rejected, secrets),
    }


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
    verifier: Verifier, message: ReceivedRequest, credential: Credential, slots: Mapping[str, str], now_ns: int
) -> str | None:
    """Return why a request is rejected, and for one that is stale, whether it is accepted at its own time."""
    recipe = verifier.recipe
    key = slots.get(recipe.key.name) if recipe.key else None
    if key != credential.key:
        return f"{Reason.UNKNOWN_KEY}: the request has the key id {key!r}, and --key is {credential.key!r}"
    try:
        verify(message, [verifier], now_ns=now_ns, replays=NoReplayCheck())
        return None
    except CallerError as error:
        rejected = _words(error)
        if error.outcome.reason is not Reason.STALE:
            return rejected
    assert recipe.time is not None
    time_ns = read_times(slots[recipe.time.name], recipe.time)[0]
    try:
        verify(message, [verifier], now_ns=time_ns, replays=NoReplayCheck())
        then = "is accepted"
    except CallerError as error:
        then = f"is rejected too: {_words(error)}"
    return f"{rejected}; at its own time (--at {time_ns // NS}) it {then}"


def _words(error: CallerError) -> str:
    return f"{error.outcome.reason}: {error.outcome.message}"


def _values(recipe: Recipe, slots: Mapping[str, str], evaluation: Evaluation) -> list[dict[str, str]]:
    hidden = recipe.masked | ({recipe.secret.name} if recipe.secret else set())
    signature = recipe.signature
    values = [("slot", name, text) for name, text in slots.items()]
    for name, value in evaluation.steps.items():
        if signature is None or signature.of.source != f"{{{name}}}":  # otherwise it is the string to sign, see below
            values.append(("step", name, to_text(value)))
    values = [(kind, name, MASK if name in hidden else text) for kind, name, text in values]
    if signature is not None:
        values.append(("result", "string to sign", string_to_sign(evaluation)))
        values.append(("result", "signature", evaluation.signature))
    return [{"kind": kind, "name": name, "value": text} for kind, name, text in values]


def _difference(explained: Mapping[str, Any], theirs: str) -> str | None:
    """Return why the client's string to sign cannot be compared or how it differs; None if it is ours."""
    ours = next((each["value"] for each in explained["values"] if each["name"] == "string to sign"), None)
    if ours is None:
        return "there is nothing to compare with"
    if ours == MASK:
        return "the string to sign holds the secret: it is not compared"
    difference = first_difference(ours, theirs)
    return difference and f"they differ from {difference}"


def first_difference(ours: str, theirs: str) -> str | None:
    """Describe the first difference of the two strings to sign. A line end at the end of `theirs` does not count."""
    if ours in (theirs, theirs.removesuffix("\n"), theirs.removesuffix("\r\n")):
        return None
    differing = (at for at, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other)
    at = next(differing, min(len(ours), len(theirs)))
    before = ours[:at]
    number, column = before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1
    one, other = (repr(text[at : at + CONTEXT_CHARS]) if at < len(text) else "its end" for text in (ours, theirs))
    return f"line {number}, character {column}: ours has {one}, the client's has {other}"


def _show(explained: Mapping[str, Any]) -> None:
    values, rejected = explained["values"], explained["rejected"]
    width = max((len(each["name"]) for each in values), default=0)
    for each in values:
        start, text = f"{each['kind']:6}  {each['name']:{width}}", each["value"]
        line(f"{start}  {text}" if "\n" not in text else start.rstrip() + f"\n{'':6}  | ".join(["", *text.split("\n")]))
    if explained["bound"]:
        line("fits with " + ", ".join(f"{name} = {text}" for name, text in explained["bound"].items()))
    if "same" in explained:
        heading("compared with the client's string to sign")
        bad_signature = (rejected or "").startswith(Reason.BAD_SIGNATURE)
        same = "they are the same" + (": the secrets differ" if bad_signature else "")
        line(same if explained["same"] else explained["difference"])
    heading("accepted" if rejected is None else f"rejected: {rejected}")
