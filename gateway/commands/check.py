"""gateway check: everything that is wrong with the specs, and every case that fails."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.loading import load_specs
from gateway.commands.options import DEFAULT_ROUTES, Json
from gateway.commands.printing import count, err, line, print_diagnostics, print_json, printable
from gateway.core.case import run_case
from gateway.specs.diagnostic import Diagnostics, Severity
from gateway.specs.load import Specs


def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of routes and other specs.")] = DEFAULT_ROUTES,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail too.")] = False,
    json: Json = False,
) -> None:
    """Print all that is wrong with the specs, and run their cases.

    The shipped specs are included. No variable needs to be set. Exits 1 on errors and on failing cases.

    \b
    Example:
      gateway check routes.d
    """
    specs = load_specs(folder, trials=True, strict_environment=False)
    failures = _failures(specs)
    if not specs.diagnostics.has_errors:
        specs.watch.report()
    passed = len(specs.trials) - len({(owner, case) for owner, case, _ in failures})
    if json:
        print_json(_as_json(specs.diagnostics, failures, passed))
    else:
        print_diagnostics(specs.diagnostics)
        for owner, case, difference in failures:
            err.print(printable(f"{owner}: case {case!r}: {difference}"), style="red", markup=False)
        line(_summary(specs, failures, passed))
    bad = specs.diagnostics.has_errors or failures or (strict and _warnings(specs.diagnostics))
    raise typer.Exit(1 if bad else 0)


def _failures(specs: Specs) -> list[tuple[str, str, str]]:
    return [
        (trial.owner, trial.case.name, difference)
        for trial in specs.trials
        for difference in run_case(trial.case, trial.route)
    ]


def _as_json(diagnostics: Diagnostics, failures: list[tuple[str, str, str]], passed: int) -> dict[str, object]:
    return {
        "diagnostics": [diagnostic.as_json() for diagnostic in diagnostics],
        "failures": [{"in": owner, "case": case, "what": what} for owner, case, what in failures],
        "passed": passed,
    }


def _summary(specs: Specs, failures: list[tuple[str, str, str]], passed: int) -> str:
    counts = [
        count(len(specs.recipes), "recipe"),
        count(len(specs.providers), "provider"),
        count(len(specs.routes), "route"),
        f"{passed} of {count(len(specs.trials), 'case')} passed",
        count(_count(specs.diagnostics, Severity.ERROR), "error"),
        count(_warnings(specs.diagnostics), "warning"),
    ]
    return ", ".join(counts)


def _warnings(diagnostics: Diagnostics) -> int:
    return _count(diagnostics, Severity.WARNING)


def _count(diagnostics: Diagnostics, severity: Severity) -> int:
    return sum(diagnostic.severity is severity for diagnostic in diagnostics)
