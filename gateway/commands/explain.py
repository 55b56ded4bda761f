"""gateway explain: each step of a recipe for one request, and the verdict."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Annotated, Any

import typer

from gateway.commands.bodies import body_kind_of
from gateway.commands.loading import load_or_fail, recipe_named
from gateway.commands.options import (
    At,
    Given,
    Json,
    Key,
    RequestFile,
    SecretOption,
    SpecFolder,
    read_file,
    read_given,
    read_request,
    read_secret,
)
from gateway.commands.printing import heading, line, print_json
from gateway.commands.targets import split_url
from gateway.core.errors import CallerError
from gateway.core.message import Message
from gateway.core.model import Request, Secret
from gateway.core.recipe.carriers import read_slots
from gateway.core.recipe.evaluate import Evaluation, evaluate
from gateway.core.recipe.filters import to_text
from gateway.core.recipe.keyring import Credential, make_keyring
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.verify import Check, verify


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
    """Show each step of a recipe for one request, secret ones masked, and whether it is accepted.

    Exits 0 when it is accepted, 1 when it is refused.

    Example: gateway explain tencent-receiver --request report.http --key ID --secret env:KEY --at 1402992826
    """
    specs = load_or_fail(routes)
    explained = _Explanation(
        recipe_named(specs, recipe),
        _at_url(read_request(request), url),
        Credential(read_secret(secret), key),
        read_given(given),
        int((time.time() if at is None else at) * 1_000_000_000),
    )
    difference = None if expect is None else explained.difference(read_file(expect, "--expect"))
    if json:
        print_json(explained.as_json(difference))
    else:
        explained.show(difference)
    raise typer.Exit(1 if explained.refused else 0)


def _at_url(request: Request, url: str | None) -> Request:
    if url is None:
        return request
    scheme, host, base_path = split_url(url, "--url")
    headers = tuple(header for header in request.headers if header[0].lower() != "host")
    return replace(request, scheme=scheme, headers=(("Host", host), *headers), target=base_path + request.target)


class _Once:
    def remember(self, once: tuple[str, ...], until_ns: int) -> bool:
        return True


@dataclass(slots=True, init=False)
class _Explanation:
    """What a recipe makes of one request. `refused` is the reason, None when it is accepted."""

    recipe: Recipe
    secret: Secret
    slots: Mapping[str, str]
    evaluation: Evaluation
    refused: str | None

    def __init__(
        self, recipe: Recipe, request: Request, credential: Credential, given: dict[str, str], now_ns: int
    ) -> None:
        message = Message(request, body_kind_of(request))
        self.recipe = recipe
        self.secret = credential.secret
        self.slots, self.evaluation, self.refused = {}, Evaluation({}), None
        try:
            self.slots = read_slots(recipe, message)
            self.evaluation = evaluate(recipe, message, self.slots, credential.secret.reveal())
            check = Check(recipe, make_keyring([credential]), given)
            verify(message, [check], now_ns=now_ns, replays=_Once())
        except CallerError as error:
            self.refused = f"{error.outcome.reason}: {error.outcome.message}"

    def rows(self) -> list[tuple[str, str, str]]:
        """Return (what it is, name, value) for each slot and step; what a secret flows into is masked."""
        rows = [("slot", name, self._masked(name, value)) for name, value in self.slots.items()]
        rows += [("step", name, self._masked(name, to_text(value))) for name, value in self.evaluation.steps.items()]
        if self.evaluation.signature:
            rows.append(("", "string to sign", self._shown(to_text(self.evaluation.string_to_sign))))
            rows.append(("", "signature", self.evaluation.signature))
        return rows

    def _masked(self, name: str, value: str) -> str:
        return "***" if name in self.recipe.masked else self._shown(value)

    def _shown(self, value: str) -> str:
        return value.replace(self.secret.reveal(), "***")

    def difference(self, expected: bytes) -> str:
        """Say where the client's string to sign first differs from ours."""
        theirs = expected.decode("utf-8", "surrogateescape")
        ours = to_text(self.evaluation.string_to_sign)
        if theirs == ours or theirs.rstrip("\r\n") == ours:
            return "the strings to sign are the same: the secret differs"
        matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
        at = next((block.size for block in matcher.get_matching_blocks() if block.a == block.b == 0), 0)
        number, column = ours[:at].count("\n") + 1, at - (ours[:at].rfind("\n") + 1) + 1
        return (
            f"they differ from line {number}, character {column} on: ours has {_around(ours, at)}, "
            f"the client's {_around(theirs, at)}"
        )

    def show(self, difference: str | None) -> None:
        for kind, name, value in self.rows():
            line(f"{kind:4} {name}: {_visible(value)}".strip())
        if difference is not None:
            heading("compared with the client's string to sign")
            line(difference)
        heading("accepted" if self.refused is None else f"refused: {self.refused}")

    def as_json(self, difference: str | None) -> dict[str, Any]:
        return {
            "recipe": self.recipe.name,
            "values": [{"kind": kind or "result", "name": name, "value": value} for kind, name, value in self.rows()],
            "difference": difference,
            "accepted": self.refused is None,
            "refused": self.refused,
        }


def _around(text: str, at: int) -> str:
    return repr(text[at : at + 20]) if at < len(text) else "its end"


def _visible(value: str) -> str:
    return value.encode("unicode_escape").decode() if any(ord(each) < 32 for each in value) else value
