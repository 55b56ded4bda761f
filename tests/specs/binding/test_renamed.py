"""Each key and word of an earlier version gets an error that names its replacement."""

from pathlib import Path

import pytest

from gateway.specs.binding.place import RENAMED
from gateway.specs.load import load

PROVIDER = """\
provider: acme
receive:
  request: {{method: POST, path: /, body: json}}
  verify: [zstack-session]
  each: {{item: body}}
  point: {{metric: item.m, value: item.v}}
  {receive}
  replies: {{ok: {{json: {{}}}}, error: {{json: {{m: message}}}}, errors: {{{errors}}}}}
send:
  item: {{m: metric}}
  request: {{method: POST, path: /, json: items}}
  {send}
  outcome: [{{code: OK{rule}}}]
"""
ROUTE = "route: one\nreceive: {provider: acme, credentials: none}\nsend: {provider: acme}\npoints: {drops: [unit]}\n"


def provider(receive: str = "", send: str = "", rule: str = "", errors: str = "") -> str:
    return PROVIDER.format(receive=receive, send=send, rule=rule, errors=errors)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("also", provider(receive="also: {}")),
        ("refuse", provider(receive="refuse: []")),
        ("reject", provider(receive="reject: []")),
        ("empty", provider(receive="empty: ok")),
        ("partial", provider(receive="partial: whole")),
        ("one_per", provider(send="one_per: [namespace]")),
        ("once_per", provider(send="declare: {once_per: [], item: {}, request: {method: POST, path: /}}")),
        ("drops", ROUTE),
        ("then", provider(rule=", then: park")),
        ("UPSTREAM_REFUSED", provider(errors="UPSTREAM_REFUSED: {m: x}")),
    ],
)
def test_old_key_is_an_error_that_names_its_replacement(key: str, text: str, tmp_path: Path):
    (tmp_path / "spec.yaml").write_text(text)

    errors = [str(each) for each in load(tmp_path, {}).diagnostics if repr(key) in str(each)]

    assert [error.rpartition("; ")[2] for error in errors] == [f"this was renamed: write `{RENAMED[key]}`"]
