"""The targets of a route."""

from pathlib import Path

from gateway.specs.load import load
from tests.support.certificates import Authority

ROUTE = """\
route: a
receive: {provider: zstack, credentials: [{secret: s3cret}], from: [10.0.0.0/8]}
send: &target
  provider: tencent-receiver
  url: https://b.example
  credential: {key: k, secret: s3cret}
  given: {region: sh}
  tls: {ca: "${CA}"}
mirrors:
- {mirror: copy, <<: *target}
points: {allow_loss: [time_ns]}
"""


def test_targets_have_the_names_in_the_route(tmp_path: Path):
    file = Authority(tmp_path, "ca").file
    (tmp_path / "route.yaml").write_text(ROUTE)

    route = load(tmp_path, {"CA": str(file)}).routes["a"]

    assert [each.name for each in (route.target, *route.mirrors)] == ["send", "copy"]
