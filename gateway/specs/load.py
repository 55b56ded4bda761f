"""Loads and checks all specs. This module alone reads environment variables and secret files."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from gateway.core.recipe.model import Recipe
from gateway.core.text import did_you_mean
from gateway.core.vendor.provider import Provider
from gateway.core.vendor.route import Route
from gateway.core.vendor.routing import Snapshot, indistinguishable_call, make_snapshot
from gateway.file_fingerprint import Fingerprints, fingerprint
from gateway.proof.cases.run import Case
from gateway.proof.vectors import Vector
from gateway.regular_files import MAX_SECRET_BYTES, read_regular_file
from gateway.specs.check.loss import check_loss
from gateway.specs.environment import Substitution
from gateway.specs.files import KINDS, read_file, spec_files
from gateway.specs.schema.cases import read_cases, stand_in_route
from gateway.specs.schema.provider import build_provider
from gateway.specs.schema.recipe import build_recipe
from gateway.specs.schema.route import build_route
from gateway.specs.shipped import shipped
from gateway.specs.yaml.diagnostic import Diagnostics, Mark, Severity
from gateway.specs.yaml.document import Document, Unloaded
from gateway.specs.yaml.nodes import ListNode, Node, mark_of


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

    `documents` holds everything that was read, by kind and name, and `read` counts it. `files` holds the fingerprints
    of the files that were read, without shipped ones, taken just before.
    """

    diagnostics: Diagnostics
    documents: dict[str, dict[str, Document]] = field(default_factory=dict, repr=False)
    recipes: dict[str, Recipe] = field(default_factory=dict)
    providers: dict[str, Provider] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    vectors: list[PlacedVector] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    not_run: list[NotRun] = field(default_factory=list)
    read: Counter[str] = field(default_factory=Counter)
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
    specs = Specs(Diagnostics())
    loader = _Loader(specs, folder, os.environ if environ is None else environ, only, trials, strict_environment)
    for finding in shipped().found:
        specs.diagnostics.add(finding)
    package = [document.unchecked(specs.diagnostics) for document in shipped().documents]
    loader.build(package, list(loader.read_own()))
    return specs


@dataclass(frozen=True, slots=True)
class _Loader:
    specs: Specs
    folder: Path | None
    environ: Mapping[str, str]
    only: Collection[str] | None
    trials: bool
    strict_environment: bool

    def read_own(self) -> Iterator[Document]:
        for path in spec_files(self.folder) if self.folder else ():
            self.specs.files[path] = fingerprint(path)
            for document in read_file(path, str(path), self.specs.diagnostics):
                document.alone = path == self.folder
                yield document

    def build(self, package: list[Document], own: list[Document]) -> None:
        # Errors up to here are in files that do not parse, or in documents of an unknown kind.
        unloaded = Unloaded(files=self.specs.diagnostics.has_errors)
        documents = self._chosen(package, own)
        self.specs.documents = {kind: {each.name: each for each in found} for kind, found in documents.items()}
        self.specs.read.update({kind: len(found) for kind, found in documents.items()})
        for document in documents["recipe"]:
            self._recipe(document)
        unloaded = _without(documents["recipe"], self.specs.recipes, unloaded)
        for document in documents["provider"]:
            document.unloaded = unloaded
            self._provider(document)
        unloaded = _without(documents["provider"], self.specs.providers, unloaded)
        routes = [each for each in documents["route"] if self.only is None or each.name in self.only]
        for document in routes:
            document.unloaded = unloaded
            self._route(document)
        self._check_ambiguity(routes)
        for name in sorted(set(self.only or ()) - {each.name for each in routes}):
            known = did_you_mean(name, [each.name for each in documents["route"]])
            self.specs.diagnostics.error(Mark(str(self.folder or ""), 1, 1), "", f"no route is named {name!r}", known)

    def _chosen(self, package: list[Document], own: list[Document]) -> dict[str, list[Document]]:
        chosen: dict[str, dict[str, Document]] = {kind: {} for kind in KINDS}
        for document in package:
            chosen[document.kind][document.name] = document
        for document in own:
            other = chosen[document.kind].get(document.name)
            if other is not None and other.shipped:
                document.note((document.kind,), f"replaces the shipped {document.kind} {document.name!r}")
            elif other is not None:
                where = other.node.mark
                document.error((document.kind,), f"{document.name!r} is already defined at {where}")
            chosen[document.kind][document.name] = document
        return {kind: list(by_name.values()) for kind, by_name in chosen.items()}

    def _recipe(self, document: Document) -> None:
        built = shipped().recipes.get(document.name) if document.shipped else None
        built = built or build_recipe(document)
        if built is None:
            self._not_run(document, "vector")
            return
        recipe, vectors = built
        self.specs.recipes[document.name] = recipe
        self.specs.vectors += [
            PlacedVector(recipe, vector, mark_of(document.node, ("vectors", index)))
            for index, vector in enumerate(vectors)
        ]

    def _provider(self, document: Document) -> None:
        if document.shipped and not self.trials and (same := shipped().provider(document.name, self.specs.recipes)):
            self.specs.providers[document.name] = same
            return
        built = build_provider(document, self.specs.recipes)
        if built is None:
            self._not_run(document, "case")
            return
        self.specs.providers[document.name] = provider = built
        if self.trials:
            for case, _, mark in read_cases(document):
                self.specs.trials.append(Trial(provider.name, case, stand_in_route(provider), {}, mark))

    def _route(self, document: Document) -> None:
        document.strict = self.strict_environment
        node = self._substituted(document, self.environ)
        built = build_route(document, node, self.specs.providers)
        self.specs.files |= document.files
        if built is not None:
            route, attribute_names = built
            check_loss(document, route, attribute_names)
            if not document.errors:
                self.specs.routes[document.name] = route
        if document.errors or document.lacks:
            self._not_run(document, "case")
            return
        if built is None:
            document.note((document.kind,), "checked in part: variables that decide how it is built are not set")
        if self.trials:
            for case, environ, mark in read_cases(document):
                self._route_trial(document, case, environ, mark)

    def _route_trial(self, document: Document, case: Case, environ: Mapping[str, str], mark: Mark) -> None:
        diagnostics = Diagnostics()
        under = document.unchecked(diagnostics)
        under.strict = False
        node = self._substituted(under, environ)
        built = build_route(under, node, self.specs.providers)
        unset = tuple(dict.fromkeys(under.unset.values()))
        if built is not None:
            self.specs.trials.append(Trial(document.name, case, built[0], environ, mark, unset))
            return
        errors = [found.what for found in diagnostics if found.severity is Severity.ERROR]
        why = errors[0] if errors else f"its `env` does not set {', '.join(unset)}"
        self.specs.not_run.append(NotRun(document.name, "case", 1, mark, why, case.name))

    def _not_run(self, document: Document, kind: Literal["case", "vector"]) -> None:
        """Record the cases or vectors of a document with errors."""
        node = document.node.entries.get(f"{kind}s")
        if (self.trials or kind == "vector") and isinstance(node, ListNode) and node.items:
            why = f"the {document.kind} has errors" if document.errors else "a spec that it names has errors"
            self.specs.not_run.append(NotRun(document.name, kind, len(node.items), node.mark, why))

    def _substituted(self, document: Document, environ: Mapping[str, str]) -> Node:
        """Return the document's node with its variables replaced."""

        def report(mark: Mark, what: str, hint: str, unset: str | None) -> None:
            if unset is not None:
                document.unset[mark] = unset
                if not document.strict:
                    document.diagnostics.note(mark, "", what)
                    return
            document.errors += 1
            document.diagnostics.error(mark, "", what, hint)

        def read_named(path: str) -> str | None:
            document.files[Path(path)] = fingerprint(Path(path))
            return _read_secret_file(path)

        substitution = Substitution(environ.get, read_named, report)
        node = substitution.apply(document.node)
        document.replaced = substitution.replaced
        document.with_values = node
        return node

    def _check_ambiguity(self, documents: list[Document]) -> None:
        """Report two routes that receive the same call."""
        routes = self.specs.routes
        for document, earlier in ((each, documents[:at]) for at, each in enumerate(documents) if each.name in routes):
            for other in (each for each in earlier if each.name in routes):
                form = indistinguishable_call(routes[other.name], routes[document.name])
                if form is not None:
                    what = f"{form.method} {form.path} is received by the route {other.name!r} too"
                    document.error(("receive", "provider"), what, "distinguish them by `match` or `path`")


def _without(documents: Sequence[Document], built: Collection[str], unloaded: Unloaded) -> Unloaded:
    """Add the documents that were not built to those that are not loaded."""
    failed = {(each.kind, each.name) for each in documents if each.name not in built}
    return Unloaded(unloaded.specs | failed, unloaded.files)


def _read_secret_file(path: str) -> str | None:
    try:
        text = read_regular_file(Path(path), MAX_SECRET_BYTES).decode("utf-8")
    except (OSError, ValueError):
        return None
    return text.removesuffix("\n").removesuffix("\r")
