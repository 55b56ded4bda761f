"""gateway check: every mistake in the specs, and every case and vector that fails."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from gateway.commands.arguments.loading import load_specs
from gateway.commands.arguments.options import DEFAULT_ROUTES, Json
from gateway.commands.output.errors import printable
from gateway.commands.output.printing import count, err, line, print_diagnostics, print_json
from gateway.proof.cases.run import run_case
from gateway.proof.vectors import run_vector
from gateway.specs.files import KINDS
from gateway.specs.load import NotRun, PlacedVector, Specs
from gateway.specs.yaml.diagnostic import Mark, Severity


def check(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="Folder of routes and other specs, or one file.")
    ] = DEFAULT_ROUTES,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    json: Json = False,
) -> None:
    """Print what is wrong with the specs, and run their cases.

    The shipped specs are included. No variable needs to be set. Exits 1 on errors and on failures.

    \b
    Example:
      gateway check routes.d
    """
    specs = load_specs(path, trials=True, strict_environment=False, or_file=True)
    failures = [*_failing_vectors(specs), *_failing_cases(specs)]
    for each in _not_run(specs):
        if not each.name:  # those with a name are failures
            specs.diagnostics.note(each.mark, "", f"{count(each.count, each.kind)} of {each.owner} not run: {each.why}")
    if json:
        print_json(_as_json(specs, failures))
    else:
        print_diagnostics(specs.diagnostics)
        for failure in failures:
            err.print(printable(str(failure)), style="red", markup=False)
        line(_summary(specs, failures))
    bad = specs.diagnostics.has_errors or failures or (strict and _found(specs, Severity.WARNING))
    raise typer.Exit(1 if bad else 0)


class Failure(NamedTuple):
    """One difference between a case or vector and its result."""

    mark: Mark
    owner: str
    kind: Literal["case", "vector"]
    name: str
    what: str

    def __str__(self) -> str:
        return f"{self.mark}: {self.owner}: {self.kind} {self.name!r}: {self.what}"

    def as_json(self) -> dict[str, object]:
        place = {"file": self.mark.file, "line": self.mark.line, "column": self.mark.column}
        return {**place, "in": self.owner, self.kind: self.name, "what": self.what}


def _failing_cases(specs: Specs) -> Iterator[Failure]:
    for trial in specs.trials:
        unset = f" (its `env` does not set {', '.join(trial.unset)})" if trial.unset else ""
        for what in run_case(trial.case, trial.route):
            yield Failure(trial.mark, trial.owner, "case", trial.case.name, what + unset)
    for each in specs.not_run:
        if each.name:
            yield Failure(each.mark, each.owner, "case", each.name, f"cannot be run: {each.why}")


def _failing_vectors(specs: Specs) -> list[Failure]:
    return [
        Failure(mark, recipe.name, "vector", vector.name, what)
        for recipe, vector, mark in _vectors(specs)
        for what in run_vector(recipe, vector)
    ]


def _has_rsa() -> bool:
    return find_spec("cryptography") is not None


def _vectors(specs: Specs) -> list[PlacedVector]:
    """Return the vectors that can be run: RSA needs an optional package."""
    return [placed for placed in specs.vectors if _has_rsa() or not placed.recipe.needs_rsa]


def _not_run(specs: Specs) -> Iterator[NotRun]:
    yield from specs.not_run
    for recipe, _, mark in specs.vectors:
        if recipe.needs_rsa and not _has_rsa():
            yield NotRun(recipe.name, "vector", 1, mark, "RSA needs a package: pip install 'metric-gateway[rsa]'")


def _as_json(specs: Specs, failures: list[Failure]) -> dict[str, object]:
    return {
        "diagnostics": [diagnostic.as_json() for diagnostic in specs.diagnostics],
        "failures": [failure.as_json() for failure in failures],
        "passed": _passed(specs, "case", failures)[0],
        "vectors_passed": _passed(specs, "vector", failures)[0],
        "not_run": sum(each.count for each in _not_run(specs)),
    }


def _passed(specs: Specs, kind: Literal["case", "vector"], failures: list[Failure]) -> tuple[int, int]:
    """Return how many cases or vectors passed, and how many there are."""
    run = len(specs.trials) if kind == "case" else len(_vectors(specs))
    not_run = [each for each in _not_run(specs) if each.kind == kind]
    failed = {(each.owner, each.name) for each in failures if each.kind == kind}
    failed -= {(each.owner, each.name) for each in not_run}
    return run - len(failed), run + sum(each.count for each in not_run)


def _summary(specs: Specs, failures: list[Failure]) -> str:
    vectors_passed, vectors = _passed(specs, "vector", failures)
    cases_passed, cases = _passed(specs, "case", failures)
    counts = [
        *(count(len(specs.documents[kind]), kind) for kind in KINDS),
        f"{vectors_passed} of {count(vectors, 'vector')} passed",
        f"{cases_passed} of {count(cases, 'case')} passed",
        count(_found(specs, Severity.ERROR), "error"),
        count(_found(specs, Severity.WARNING), "warning"),
    ]
    return ", ".join(counts)


def _found(specs: Specs, severity: Severity) -> int:
    return sum(diagnostic.severity is severity for diagnostic in specs.diagnostics)
