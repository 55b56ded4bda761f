"""Loads and checks all specs. Only loading reads environment variables and secret files."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, NamedTuple

from gateway.core.recipe.model import Recipe
from gateway.core.text import did_you_mean
from gateway.core.vendor.provider import Provider
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import Snapshot, ambiguous_calls, make_snapshot
from gateway.files import Fingerprints, fingerprint
from gateway.proof.cases.run import Case
from gateway.proof.vectors import Vector
from gateway.specs.environment import substitute
from gateway.specs.files import KINDS, read_file, spec_files
from gateway.specs.schema.cases import read_cases, stand_in_route
from gateway.specs.schema.provider import build_provider
from gateway.specs.schema.recipe import build_recipe
from gateway.specs.schema.route import build_route, check_loss
from gateway.specs.yaml.diagnostic import Diagnostics, Mark, Severity
from gateway.specs.yaml.document import Document
from gateway.specs.yaml.nodes import ListNode, mark_of


@dataclass(frozen=True, slots=True)
class Trial:
    """A case and its route, built with the environment of the case. `unset` names variables without a value."""

    owner: str
    case: Case
    route: Route
    environ: Mapping[str, str]
    mark: Mark
    unset: tuple[str, ...] = ()


class PlacedVector(NamedTuple):
    recipe: Recipe
    vector: Vector
    mark: Mark


@dataclass(frozen=True, slots=True)
class NotRun:
    """Cases or vectors of one document that cannot be run, and why. `name` is the name of a single case."""

    owner: str
    kind: Literal["case", "vector"]
    count: int
    mark: Mark
    why: str
    name: str = ""


@dataclass(slots=True)
class Specs:
    """All specs of one load. They are complete only if `diagnostics` has no errors.

    `documents` holds everything that was read, by kind and name. `files` holds the fingerprints of the files that were
    read, without shipped ones, taken just before.
    """

    diagnostics: Diagnostics
    documents: dict[str, dict[str, Document]] = field(default_factory=lambda: {kind: {} for kind in KINDS}, repr=False)
    recipes: dict[str, Recipe] = field(default_factory=dict)
    providers: dict[str, Provider] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    vectors: list[PlacedVector] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    not_run: list[NotRun] = field(default_factory=list)
    files: Fingerprints = field(default_factory=dict)

    @property
    def snapshot(self) -> Snapshot:
        return make_snapshot(list(self.routes.values()))


def load(
    folder: Path | None,
    environ: Mapping[str, str] | None = None,
    *,
    only: Collection[str] | None = None,
    trials: bool = False,
    strict_environment: bool = True,
) -> Specs:
    """Load the shipped specs and those below the folder; a spec of the same name replaces the shipped one.

    `folder` may also be one file. The result's diagnostics hold everything that is wrong. `only` leaves out all other
    routes; `trials` also prepares the cases. An unset variable is an error with `strict_environment`, else a note.
    Raises OSError when the folder cannot be read.
    """
    package, specs = _shipped(), Specs(Diagnostics())
    for found in package.diagnostics:
        specs.diagnostics.add(found)
    documents = specs.documents
    for kind in KINDS:
        documents[kind] |= {name: each.unchecked(specs.diagnostics) for name, each in package.documents[kind].items()}
    own: list[Document] = []
    for path in spec_files(folder) if folder else ():
        specs.files[path] = fingerprint(path)
        own += read_file(path, str(path), specs.diagnostics, alone=path == folder)
    # Errors up to here are in files that do not parse, or in documents of an unknown kind.
    names = None if specs.diagnostics.has_errors else {kind: documents[kind].keys() for kind in KINDS}
    for document in own:
        other = documents[document.kind].get(document.name)
        if other is not None and other.shipped:
            document.note((document.kind,), f"replaces the shipped {document.kind} {document.name!r}")
        elif other is not None:
            document.error((document.kind,), f"{document.name!r} is already defined at {other.node.mark}")
        documents[document.kind][document.name] = document
    for document in (each for kind in KINDS for each in documents[kind].values()):
        document.names = names

    for document in documents["recipe"].values():
        _build_recipe(document, specs, package)
    for document in documents["provider"].values():
        _build_provider(document, specs, package, trials=trials)
    chosen = [each for name, each in documents["route"].items() if only is None or name in only]
    for document in chosen:
        document.strict = strict_environment
        _build_route(document, specs, os.environ if environ is None else environ, trials=trials)
    for route, earlier, form in ambiguous_calls(specs.routes.values()):
        what = f"{form.method} {form.path} is received by the route {earlier.name!r} too"
        documents["route"][route.name].error(("receive", "provider"), what, "distinguish them by `match` or `path`")
    for name in sorted(set(only or ()) - documents["route"].keys()):
        known = did_you_mean(name, documents["route"])
        specs.diagnostics.error(Mark(str(folder or ""), 1, 1), "", f"no route is named {name!r}", known)
    return specs


@cache
def _shipped() -> Specs:
    """Load the specs of the package, once in a process."""
    specs, package = Specs(Diagnostics()), Path(str(files("gateway")))
    for path in (path for folder in ("recipes", "providers") for path in sorted((package / folder).glob("*.yaml"))):
        for document in read_file(path, str(path.relative_to(package.parent)), specs.diagnostics, shipped=True):
            specs.documents[document.kind][document.name] = document
    for document in specs.documents["recipe"].values():
        _build_recipe(document, specs, specs)
    for document in specs.documents["provider"].values():
        _build_provider(document, specs, specs, trials=False)
    return specs


def _build_recipe(document: Document, specs: Specs, package: Specs) -> None:
    if document.shipped and document.name in package.recipes:
        recipe = package.recipes[document.name]
        vectors = [placed for placed in package.vectors if placed.recipe is recipe]
    elif built := build_recipe(document):
        recipe, read = built
        marks = [mark_of(document.node, ("vectors", index)) for index in range(len(read))]
        vectors = [PlacedVector(recipe, vector, mark) for vector, mark in zip(read, marks, strict=True)]
    else:
        _add_not_run(document, "vector", specs)
        return
    specs.recipes[document.name] = recipe
    specs.vectors += vectors


def _build_provider(document: Document, specs: Specs, package: Specs, *, trials: bool) -> None:
    as_shipped = all(specs.recipes.get(name) is recipe for name, recipe in package.recipes.items())
    provider = package.providers.get(document.name) if document.shipped and as_shipped else None
    provider = provider or build_provider(document, specs.recipes)
    if provider is not None:
        specs.providers[document.name] = provider
    if provider is not None and trials:
        route = stand_in_route(provider)
        specs.trials += [Trial(document.name, case, route, {}, mark) for case, _, mark in read_cases(document)]
    elif trials:
        _add_not_run(document, "case", specs)


def _build_route(document: Document, specs: Specs, environ: Mapping[str, str], *, trials: bool) -> None:
    built = build_route(document, substitute(document, environ), specs.providers)
    specs.files |= document.files
    if built is not None:
        check_loss(document, *built)
    if built is not None and not document.errors:
        specs.routes[document.name] = built[0]
    if document.errors or document.lacks:
        if trials:
            _add_not_run(document, "case", specs)
        return
    if built is None:
        document.note((document.kind,), "checked in part: variables that decide how it is built are not set")
    for case, own_environ, mark in read_cases(document) if trials else ():
        under = document.unchecked(Diagnostics())
        under.strict = False
        of_case = build_route(under, substitute(under, own_environ), specs.providers)
        unset = tuple(dict.fromkeys(under.unset.values()))
        if of_case is not None:
            specs.trials.append(Trial(document.name, case, of_case[0], own_environ, mark, unset))
            continue
        errors = [found.what for found in under.diagnostics if found.severity is Severity.ERROR]
        why = errors[0] if errors else f"its `env` does not set {', '.join(unset)}"
        specs.not_run.append(NotRun(document.name, "case", 1, mark, why, case.name))


def _add_not_run(document: Document, kind: Literal["case", "vector"], specs: Specs) -> None:
    """Record the cases or vectors of a document with errors."""
    node = document.node.entries.get(f"{kind}s")
    if isinstance(node, ListNode) and node.items:
        why = f"the {document.kind} has errors" if document.errors else "a spec that it names has errors"
        specs.not_run.append(NotRun(document.name, kind, len(node.items), node.mark, why))
