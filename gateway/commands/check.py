"""gateway check: everything that is wrong with the specs, and every case and vector that fails."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from gateway.commands.arguments.loading import load_specs
from gateway.commands.arguments.options import DEFAULT_ROUTES, Json
from gateway.commands.output.printing import count, err, line, print_diagnostics, print_json, printable
from gateway.proof.cases.run import run_case
from gateway.proof.vectors import run_vector
from gateway.specs.files import KINDS
from gateway.specs.load import NotRun, PlacedVector, Specs
from gateway.specs.yaml.diagnostic import Diagnostics, Mark, Severity


def check(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="Folder of routes and other specs, or one file.")
    ] = DEFAULT_ROUTES,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail too.")] = False,
    json: Json = False,
) -> None:
    """Print what is wrong with the specs, and run their cases.

    The shipped specs are included. No variable needs to be set. Exits 1 on errors and on what fails.

    \b
    Example:
      gateway check routes.d
    """
    specs = load_specs(path, trials=True, strict_environment=False, or_file=True)
    failures = [*_failing_vectors(specs), *_failing_cases(specs)]
    if not specs.diagnostics.has_errors:
        specs.watch.report()
    for each in _not_run(specs):
        if each.name:
            continue  # reported as a separate failure
        specs.diagnostics.note(each.mark, "", f"{count(each.count, each.kind)} of {each.owner} not run: {each.why}")
    if json:
        print_json(_as_json(specs, failures))
    else:
        print_diagnostics(specs.diagnostics)
        for failure in failures:
            err.print(printable(str(failure)), style="red", markup=False)
        line(_summary(specs, failures))
    bad = specs.diagnostics.has_errors or failures or (strict and _warnings(specs.diagnostics))
    raise typer.Exit(1 if bad else 0)


class Failure(NamedTuple):
    """One thing that is wrong with a case or a vector."""

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
    """Return the vectors that can be run: RSA is an extra."""
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
        "passed": _tally(specs, "case", failures).passed,
        "vectors_passed": _tally(specs, "vector", failures).passed,
        "not_run": sum(each.count for each in _not_run(specs)),
    }


class _Tally(NamedTuple):
    """How many cases or vectors passed, of all that are written."""

    passed: int
    total: int
    noun: str

    def __str__(self) -> str:
        return f"{self.passed} of {count(self.total, self.noun)} passed"


def _tally(specs: Specs, kind: Literal["case", "vector"], failures: list[Failure]) -> _Tally:
    run = len(specs.trials) if kind == "case" else len(_vectors(specs))
    not_run = [each for each in _not_run(specs) if each.kind == kind]
    failed = {(each.owner, each.name) for each in failures if each.kind == kind}
    failed -= {(each.owner, each.name) for each in not_run}
    return _Tally(run - len(failed), run + sum(each.count for each in not_run), kind)


def _summary(specs: Specs, failures: list[Failure]) -> str:
    counts = [
        *(count(specs.read[kind], kind) for kind in KINDS),
        str(_tally(specs, "vector", failures)),
        str(_tally(specs, "case", failures)),
        count(_count(specs.diagnostics, Severity.ERROR), "error"),
        count(_warnings(specs.diagnostics), "warning"),
    ]
    return ", ".join(counts)


def _warnings(diagnostics: Diagnostics) -> int:
    return _count(diagnostics, Severity.WARNING)


def _count(diagnostics: Diagnostics, severity: Severity) -> int:
    return sum(diagnostic.severity is severity for diagnostic in diagnostics)
