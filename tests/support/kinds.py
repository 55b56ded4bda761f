"""Small providers, each with another way to represent less than a whole data point, and routes for them."""

from gateway.core.vendor.provider import Provider
from tests.support.specs import provider

WHOLE = """
provider: whole
receive:
  request: {method: POST, path: /whole, body: json}
  verify: [session]
  each: {item: body}
  point:
    {namespace: item.n, metric: item.m, value: item.v, stats: item.s, unit: item.u, time_ns: item.t, attributes: item.a}
send:
  item: {n: namespace, m: metric, v: value, s: stats, u: unit, t: time_ns, a: attributes}
  request: {method: POST, path: /whole, json: items}
"""
# One reading a call, of a schema with fixed names.
FIXED = """
provider: fixed
given: {members: [qps, rate]}
receive:
  request: {method: POST, path: "/fixed/{project}", body: json}
  verify: [session]
  each: {row: "[body.readings]", item: "unpivot(row, `null`)"}
  point: {namespace: body.name, metric: item.name, value: item.value, attributes: {host: body.host, zone: body.zone}}
send:
  group_by: {name: namespace, host: attributes.host, zone: attributes.zone}
  item: {member: "if(contains(given.members, metric), metric, 'qps')", value: value}
  request:
    method: POST
    path: "/fixed/{given.project}"
    json: {name: name, host: host, zone: zone, readings: "pivot(items, 'member', 'value')[0]"}
needs: [project]
"""
# Integers, one time for a call, no namespace.
COUNTS = """
provider: counts
rules: {value: {integer: true}, time_ns: {max_age_s: 300, max_ahead_s: 0}}
receive:
  requests:
    form: {method: POST, path: /, match: {type: "*/x-www-form-urlencoded"}, body: form, input: "nest(body, '.0')"}
    json: {method: POST, path: /, body: json}
  verify: [session]
  each: {item: body.counts}
  point: {metric: item.name, value: item.value, time_ns: from_s(body.at), attributes: {host: body.host}}
send:
  group_by: {at: to_s(time_ns), host: attributes.host}
  item: {name: metric, value: value}
  requests:
    json: {method: POST, path: /, json: {counts: items, at: at, host: host}}
    form: {method: POST, path: /, form: "flatten({counts: items, at: at, host: host}, '.0')"}
"""
# Narrow rules, and a unit of its own for each of a few.
NARROW = """
provider: narrow
given: {units: {Percent: PERCENT, PERCENT: PERCENT, s: SECOND, SECOND: SECOND}}
rules:
  namespace: {required: true, pattern: "[a-z]+/[a-z]+", max_chars: 20}
  metric: {pattern: "[A-Za-z.]+"}
  value: {min: 1, max: 5000}
  attributes: {min: 1, max: 1, keys: "[a-z_]+", max_chars: 6}
  stats: {keys: [min, max]}
receive:
  request: {method: POST, path: /narrow, body: json}
  verify: [session]
  reject_report: [{when: "!(body.by)", reason: MISSING_FIELD, text: by is required}]
  each: {item: body.rows}
  point:
    {namespace: body.n, metric: item.m, value: item.v, stats: item.s, unit: item.u, time_ns: from_ms(item.t),
     attributes: item.a}
send:
  group_by: {n: namespace}
  item: {m: metric, v: value, s: stats, u: "lookup(given.units, unit) || 'NONE'", t: to_ms(time_ns), a: attributes}
  request: {method: POST, path: /narrow, json: {by: "'us'", n: n, rows: items}}
"""
# A route whose reporters log in.
LOGGING_IN = """
route: in
receive:
  provider: zstack
  credentials: [{key: admin, secret: password}]
  verify: [zstack-session]
  from: [10.0.0.0/8]
send:
  provider: tencent-receiver
  url: http://h
  credential: {key: k, secret: s3cret}
  given: {region: sh}
points: {allow_loss: [time_ns]}
cases:
  - case: a session
    request: {json: {params: {namespace: n, data: [{metricName: m, value: 1, labels: {a: b}}]}}}
    points: [{metric: m, value: 1}]
"""


def without(text: str, *parts: str) -> Provider:
    """Return the provider of a text from which these parts are taken."""
    for part in parts:
        assert part in text
        text = text.replace(part, "")
    return provider(text)
