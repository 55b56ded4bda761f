"""gateway explain: each step of a recipe for one request, and the verdict."""

from dataclasses import replace
from typing import Annotated

import typer

from gateway.commands.arguments.credentials import read_credential, recipes_for
from gateway.commands.arguments.loading import check_given, load_or_fail, recipe_named
from gateway.commands.arguments.options import (
    STANDARD_INPUT,
    At,
    Given,
    Json,
    Key,
    RequestFile,
    SecretOption,
    SpecFolder,
    base_url,
    read_clock,
    read_file,
    read_given,
    read_request,
)
from gateway.commands.output.errors import misuse
from gateway.commands.output.printing import heading, line, print_json
from gateway.commands.recipes.explanation import MASK, Explanation, explain_request, first_difference
from gateway.core.http.received import ReceivedRequest, guess_body_kind
from gateway.core.http.request import Secret
from gateway.core.outcome.masking import mask_secrets
from gateway.core.outcome.outcome import Reason


def explain(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="The recipe's name.")],
    request: RequestFile,
    key: Key = None,
    secret: SecretOption = None,
    given: Given = None,
    at: At = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="BASE", help="The URL that the client signed, if a proxy hides it.")
    ] = None,
    expect: Annotated[
        str | None, typer.Option("--expect", metavar="FILE", help="The client's own string to sign, to compare with.")
    ] = None,
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
    clock, pins, base = read_clock(at), read_given(given), None if url is None else base_url(url, "--url")
    credential = read_credential(key, secret)
    chosen = recipe_named(load_or_fail(routes, only=()), recipe)
    recipes_for(credential, [chosen], recipe)
    check_given(pins, [chosen])
    if expect is not None and chosen.signature is None:
        misuse(f"--expect: {recipe} signs nothing")
    explained = read_request(request)
    explained = explained if base is None else explained.at(base)
    explanation = explain_request(
        chosen, ReceivedRequest(explained, guess_body_kind(explained)), credential, pins, clock
    )
    explanation = _without(explanation, credential.secret)
    compared = None if expect is None else _compared(explanation, read_file(expect, "--expect"), credential.secret)
    if json:
        print_json(_as_json(recipe, explanation, compared))
    else:
        _show(explanation, compared)
    raise typer.Exit(1 if explanation.rejected else 0)


def _without(explanation: Explanation, secret: Secret) -> Explanation:
    """Mask the secret also where the client wrote it into a value."""
    values = tuple(replace(value, text=mask_secrets(value.text, [secret])) for value in explanation.values)
    rejected = explanation.rejected and mask_secrets(explanation.rejected, [secret])
    signed = mask_secrets(explanation.string_to_sign, [secret])
    return replace(explanation, values=values, rejected=rejected, string_to_sign=signed)


def _compared(explanation: Explanation, expected: bytes, secret: Secret) -> tuple[bool, str]:
    """Return whether the client's string to sign equals ours, and a sentence about it."""
    if not explanation.values:
        return False, "there is nothing to compare with"
    if explanation.string_to_sign == MASK:
        return False, "the string to sign holds the secret: it is not compared"
    theirs = mask_secrets(expected.decode("utf-8", "surrogateescape"), [secret])
    difference = first_difference(explanation.string_to_sign, theirs)
    if difference is not None:
        return False, f"they differ from {difference}"
    bad_signature = (explanation.rejected or "").startswith(Reason.BAD_SIGNATURE)
    return True, "they are the same" + (": the secrets differ" if bad_signature else "")


def _show(explanation: Explanation, compared: tuple[bool, str] | None) -> None:
    width = max((len(value.name) for value in explanation.values), default=0)
    for value in explanation.values:
        if "\n" not in value.text:
            line(f"{value.kind:6}  {value.name:{width}}  {value.text}")
            continue
        line(f"{value.kind:6}  {value.name}")
        for each in value.text.split("\n"):
            line(f"{'':6}  | {each}")
    if explanation.bound:
        line("fits with " + ", ".join(f"{name} = {text}" for name, text in explanation.bound.items()))
    if compared is not None:
        heading("compared with the client's string to sign")
        line(compared[1])
    heading("accepted" if explanation.rejected is None else f"rejected: {explanation.rejected}")


def _as_json(recipe: str, explanation: Explanation, compared: tuple[bool, str] | None) -> dict[str, object]:
    values = [{"kind": each.kind, "name": each.name, "value": each.text} for each in explanation.values]
    comparison = {} if compared is None else {"same": compared[0], "difference": None if compared[0] else compared[1]}
    return {
        "recipe": recipe,
        "values": values,
        "bound": explanation.bound,
        **comparison,
        "accepted": explanation.rejected is None,
        "rejected": explanation.rejected,
    }
