"""gateway matrix."""

from pathlib import Path

import pytest

from gateway.commands.output.printing import MAX_TABLE_CHARS
from tests.support.kinds import COUNTS, FIXED, NARROW, WHOLE
from tests.support.terminal import run

SESSION = """
recipe: session
slots: {session: {kind: secret}}
carry: [{header: authorization, value: "{session}"}]
"""
MUTE = COUNTS.partition("send:")[0].replace("provider: counts", "provider: mute")
GARBLED = WHOLE.replace("provider: whole", "provider: garbled").replace("/whole, json", "/other, json")


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    texts = [SESSION, WHOLE, FIXED, COUNTS, NARROW, MUTE, GARBLED]
    (tmp_path / "own.yaml").write_text("---\n".join(texts))
    return tmp_path


def table(output: str, head: str) -> dict[str, list[str]]:
    """Return the rows of the table with this head by their first cell. A wide table is printed in several blocks."""
    rows: dict[str, list[str]] = {}
    for block in output.split("\n\n"):
        for line in block.splitlines() if block.startswith(f"| {head}") else ():
            first, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            rows.setdefault(first, []).extend(cells)
    return rows


def test_each_provider_that_sends_has_a_row_of_what_it_holds(routes: Path) -> None:
    rows = table(run("matrix", "--routes", routes).output, "provider")

    assert rows["whole"] == ["yes", "yes", "any", "any", "any", "ns", "any"]
    assert rows["fixed"] == ["yes", "no", "any", "no", "no", "no", "host, zone"]
    assert rows["narrow"] == ["yes", "yes", "any", "max, min", "mapped", "ms", "any"]
    assert rows["garbled"] == ["?"] * 7
    assert "mute" not in rows


def test_each_cell_says_what_is_lost_what_merges_series_first(routes: Path) -> None:
    rows = table(run("matrix", "--routes", routes).output, "from")

    cells = {name: dict(zip(rows["from ╲ to"], row, strict=True)) for name, row in rows.items()}
    assert cells["whole"]["whole"] == "·"
    assert cells["whole"]["fixed"] == "Ma SUT"
    assert cells["whole"]["counts"] == "Na vSUt"
    assert cells["counts"]["narrow"] == "+n"
    assert cells["mute"]["whole"] == "·"
    assert cells["whole"]["garbled"] == "?"
    assert "mute" not in rows["from ╲ to"]


def test_no_line_is_wider_than_a_terminal(routes: Path) -> None:
    for number in range(6):
        text = WHOLE.replace("provider: whole", f"provider: whole-of-a-long-name-{number}")
        (routes / f"{number}.yaml").write_text(text)

    ended = run("matrix", "--routes", routes)

    assert max(map(len, ended.output.splitlines())) <= MAX_TABLE_CHARS
    heads = [line for line in ended.output.splitlines() if "from ╲ to" in line]
    assert len(heads) > 1
    assert all(f" whole-of-a-long-name-{number} " in " ".join(heads) for number in range(6))


def test_one_pair_is_described_in_words(routes: Path) -> None:
    assert run("matrix", "whole", "fixed", "--routes", routes).output.splitlines() == [
        "── whole to fixed",
        "namespace   arrives",
        "metric      it arrives as 'qps'; series would merge",
        "value       arrives",
        "stats       avg, count, last, max, min, sum become separate data points",
        "unit        it does not arrive",
        "time_ns     it does not arrive and is replaced by the time of receipt",
        "attributes  only host, zone arrive; series would merge",
    ]


@pytest.mark.parametrize(
    ("pair", "line"),
    [
        (("counts", "whole"), "namespace   is not stated"),
        (("fixed", "whole"), "time_ns     is not stated"),
        (("counts", "narrow"), "namespace   narrow requires it, and no report has it: set it in the route"),
        (("whole", "garbled"), "?  garbled cannot read what it sends: no request of `receive` is POST /other"),
    ],
    ids=[*("not stated", "no time", "required", "unreadable")],
)
def test_missing_and_unknown_fields_are_reported(routes: Path, pair: tuple[str, str], line: str) -> None:
    assert line in run("matrix", *pair, "--routes", routes).output.splitlines()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("whole",), 2, "name both providers, FROM and TO, or none (see: gateway matrix --help)"),
        (("whole", "fixd"), 1, "no provider is named 'fixd'; did you mean 'fixed'?"),
        (("whole", "mute"), 1, "no report goes from whole to mute: one of them has no such role"),
    ],
    ids=["one name", "unknown", "no target"],
)
def test_unusable_names_are_one_line(routes: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    ended = run("matrix", *arguments, "--routes", routes)

    assert (ended.code, ended.complaint) == (code, f"gateway: {said}")


def test_no_variable_needs_to_be_set() -> None:
    ended = run("matrix", "--routes", "routes.d")

    assert (ended.code, ended.errors) == (0, "")
