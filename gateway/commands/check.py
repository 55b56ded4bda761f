"""gateway check: everything that is wrong with the specs, and every case and vector that fails."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from gateway.commands.loading import load_specs
from gateway.commands.options import DEFAULT_ROUTES, Json
from gateway.commands.printing import count, err, line, print_diagnostics, print_json, printable
from gateway.core.cases.run import run_case
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.vector import Vector, run_vector
from gateway.specs.diagnostic import Diagnostics, Severity
from gateway.specs.load import Specs


def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of routes and other specs.")] = DEFAULT_ROUTES,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail too.")] = False,
    json: Json = False,
) -> None:
    """Print what is wrong with the specs, and run their cases.

    The shipped specs are included. No variable needs to be set. Exits 1 on errors and on what fails.

    \b
    Example:
      gateway check routes.d
    """
    specs = load_specs(folder, trials=True, strict_environment=False)
    failures = [*_failing_vectors(specs), *_failing_cases(specs)]
    if not specs.diagnostics.has_errors:
        specs.watch.report()
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

    owner: str
    kind: Literal["case", "vector"]
    name: str
    what: str

    def __str__(self) -> str:
        return f"{self.owner}: {self.kind} {self.name!r}: {self.what}"


def _failing_cases(specs: Specs) -> list[Failure]:
    return [
        Failure(trial.owner, "case", trial.case.name, what)
        for trial in specs.trials
        for what in run_case(trial.case, trial.route)
    ]


def _failing_vectors(specs: Specs) -> list[Failure]:
    return [
        Failure(recipe.name, "vector", vector.name, what)
        for recipe, vector in _vectors(specs)
        for what in run_vector(recipe, vector)
    ]


def _vectors(specs: Specs) -> list[tuple[Recipe, Vector]]:
    """Return the vectors that can be run: RSA is an extra."""
    has_rsa = find_spec("cryptography") is not None
    return [(recipe, vector) for recipe, vector in specs.vectors if has_rsa or not recipe.needs_rsa]


def _as_json(specs: Specs, failures: list[Failure]) -> dict[str, object]:
    return {
        "diagnostics": [diagnostic.as_json() for diagnostic in specs.diagnostics],
        "failures": [{"in": each.owner, each.kind: each.name, "what": each.what} for each in failures],
        "passed": _passed(len(specs.trials), "case", failures),
        "vectors_passed": _passed(len(_vectors(specs)), "vector", failures),
    }


def _summary(specs: Specs, failures: list[Failure]) -> str:
    vectors = len(_vectors(specs))
    counts = [
        count(len(specs.recipes), "recipe"),
        count(len(specs.providers), "provider"),
        count(len(specs.routes), "route"),
        f"{_passed(vectors, 'vector', failures)} of {count(vectors, 'vector')} passed",
        f"{_passed(len(specs.trials), 'case', failures)} of {count(len(specs.trials), 'case')} passed",
        count(_count(specs.diagnostics, Severity.ERROR), "error"),
        count(_warnings(specs.diagnostics), "warning"),
    ]
    return ", ".join(counts)


def _passed(total: int, kind: str, failures: list[Failure]) -> int:
    return total - len({(each.owner, each.name) for each in failures if each.kind == kind})


def _warnings(diagnostics: Diagnostics) -> int:
    return _count(diagnostics, Severity.WARNING)


def _count(diagnostics: Diagnostics, severity: Severity) -> int:
    return sum(diagnostic.severity is severity for diagnostic in diagnostics)
