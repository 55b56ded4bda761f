"""The shipped specs: their cases pass, nothing in them is idle, and every failure has words in every dialect."""

import re
from pathlib import Path
from typing import Any

import pytest

from gateway.core.expression.functions import FUNCTIONS
from gateway.core.outcome.outcome import Code, Outcome, Reason, failure
from gateway.core.outcome.reply import build_reply, plain_reply
from gateway.core.vendor.provider import Replies
from gateway.core.vendor.route import Target
from gateway.proof.capabilities import probe_capabilities
from gateway.proof.cases.run import run_case
from gateway.proof.probe import own_targets
from gateway.specs.load import Trial, load
from gateway.specs.yaml.diagnostic import Severity

ROUTES = Path(__file__).parents[1] / "routes.d"
COOKBOOK = (Path(__file__).parents[1] / "docs" / "cookbook.md").read_text()
PROVIDERS = Path(__file__).parents[1] / "gateway" / "providers"
UNBUILT = plain_reply(failure(Reason.INTERNAL, "the reply could not be built")).body
SPECS = load(ROUTES, {}, trials=True, strict_environment=False)
DIALECTS = {
    name: provider.receive.replies
    for name, provider in SPECS.providers.items()
    if provider.receive is not None and provider.receive.replies is not None
}
TARGETS = [target for provider in SPECS.providers.values() if not provider.relay for target in own_targets(provider)]
FAILURES = [
    *(failure(reason, "what is wrong") for reason in Reason),
    *(Outcome(code, Reason.PARTIAL, "what is wrong", 1) for code in Code if code is not Code.OK),
]


@pytest.mark.parametrize("trial", SPECS.trials, ids=lambda trial: f"{trial.owner}: {trial.case.name}")
def test_golden_case_passes(trial: Trial):
    assert run_case(trial.case, trial.route) == []


def test_every_provider_and_every_route_has_cases():
    assert {trial.owner for trial in SPECS.trials} == {*SPECS.providers, *SPECS.routes}


def test_case_names_are_unique():
    names = [(trial.owner, trial.case.name) for trial in SPECS.trials]

    assert len(names) == len(set(names))


def test_shipped_routes_only_report_unset_variables():
    found = [each for each in SPECS.diagnostics if "is not set" not in each.what]

    assert [str(each) for each in found if each.severity is not Severity.NOTE] == []


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.provider.name} {target.form.name}")
def test_provider_decodes_its_own_calls(target: Target):
    assert probe_capabilities(target)


def test_every_function_is_used_by_a_shipped_spec_or_the_cookbook():
    text = "\n".join(path.read_text() for folder in (PROVIDERS, ROUTES) for path in folder.rglob("*.yaml")) + COOKBOOK

    assert [name for name in FUNCTIONS if not re.search(rf"\b{name}\(", text)] == []


@pytest.mark.parametrize("outcome", FAILURES, ids=lambda outcome: f"{outcome.code} {outcome.reason}")
@pytest.mark.parametrize("replies", DIALECTS.values(), ids=DIALECTS)
def test_every_failure_has_a_reply_in_the_vendors_dialect(replies: Replies, outcome: Outcome):
    names: dict[str, Any] = dict.fromkeys(("body", "query", "headers", "given", "request", "recipe", "key"))

    response = build_reply(replies, outcome, names)

    assert response.body not in (b"", plain_reply(outcome).body, UNBUILT)


def test_every_reason_has_an_error_row():
    for replies in DIALECTS.values():
        assert all({reason, reason.code, "default"} & replies.errors.keys() for reason in Reason)


def test_every_provider_that_receives_has_a_dialect():
    assert DIALECTS.keys() == {name for name, provider in SPECS.providers.items() if provider.receive}
