"""gateway check: every mistake in the specs, and every case and vector that fails."""

from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from gateway.commands.arguments.loading import load_specs
from gateway.commands.arguments.options import DEFAULT_ROUTES, Json
from gateway.commands.output.errors import printable
from gateway.commands.output.printing import count, err, line, print_diagnostics, print_json
from gateway.core.recipe.model import Recipe
from gateway.proof.cases.run import run_case
from gateway.proof.vectors import run_vector
from gateway.specs.files import KINDS
from gateway.specs.load import NotRun, Specs
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
    results, not_run = list(_results(specs)), [*specs.not_run, *_not_runnable(specs)]
    for each in not_run:
        if not each.name:  # those with a name are failures
            specs.diagnostics.note(each.mark, "", f"{count(each.count, each.kind)} of {each.owner} not run: {each.why}")
    failures = [(result, what) for result in results for what in result.differences]
    passed = Counter(result.kind for result in results if not result.differences)
    found = Counter(diagnostic.severity for diagnostic in specs.diagnostics)
    if json:
        print_json(
            {
                "diagnostics": [diagnostic.as_json() for diagnostic in specs.diagnostics],
                "failures": [result.as_json(what) for result, what in failures],
                "passed": passed["case"],
                "vectors_passed": passed["vector"],
                "not_run": sum(each.count for each in not_run),
            }
        )
    else:
        print_diagnostics(specs.diagnostics)
        for result, what in failures:
            text = f"{result.mark}: {result.owner}: {result.kind} {result.name!r}: {what}"
            err.print(printable(text), style="red", markup=False)
        total = Counter(result.kind for result in results)
        for each in not_run:
            total[each.kind] += 0 if each.name else each.count
        counts = [count(len(specs.documents[kind]), kind) for kind in KINDS]
        counts += [f"{passed[kind]} of {count(total[kind], kind)} passed" for kind in ("vector", "case")]
        counts += [count(found[severity], severity) for severity in (Severity.ERROR, Severity.WARNING)]
        line(", ".join(counts))
    raise typer.Exit(1 if found[Severity.ERROR] or failures or (strict and found[Severity.WARNING]) else 0)


class Result(NamedTuple):
    """A case or vector, and the differences between what it states and what the stages return."""

    kind: Literal["case", "vector"]
    owner: str
    name: str
    mark: Mark
    differences: list[str]

    def as_json(self, what: str) -> dict[str, object]:
        place = {"file": self.mark.file, "line": self.mark.line, "column": self.mark.column}
        return {**place, "in": self.owner, self.kind: self.name, "what": what}


def _results(specs: Specs) -> Iterator[Result]:
    """Run each vector and case; a case that cannot be run is a failure."""
    for recipe, vector, mark in specs.vectors:
        if _can_run(recipe):
            yield Result("vector", recipe.name, vector.name, mark, list(run_vector(recipe, vector)))
    for trial in specs.trials:
        unset = f" (its `env` does not set {', '.join(trial.unset)})" if trial.unset else ""
        found = [what + unset for what in run_case(trial.case, trial.route)]
        yield Result("case", trial.owner, trial.case.name, trial.mark, found)
    for each in specs.not_run:
        if each.name:
            yield Result("case", each.owner, each.name, each.mark, [f"cannot be run: {each.why}"])


def _can_run(recipe: Recipe) -> bool:
    """RSA needs an optional package."""
    return not recipe.needs_rsa or find_spec("cryptography") is not None


def _not_runnable(specs: Specs) -> Iterator[NotRun]:
    for recipe, _, mark in specs.vectors:
        if not _can_run(recipe):
            yield NotRun(recipe.name, "vector", 1, mark, "RSA needs a package: pip install 'metric-gateway[rsa]'")
