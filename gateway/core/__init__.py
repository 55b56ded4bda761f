"""The pure core: functions from values to values. Time, nonces and secrets are arguments.

The path of a report, from its request to the reply. `pipeline.py` calls the stages of steps 2 to 5 in order, with the
time, the replay memory and the client's address in a RequestContext (context.py).

1. Match      vendor/routing.py finds the route of the request; vendor/matching.py checks its conditions.
2. Verify     recipe/verify.py checks the signature or session; the head alone suffices for some recipes.
3. Decode     http/received.py parses the body, points/decode.py reads items as data points (points/point.py).
4. Change     points/changes.py applies the source's rules, the route's changes and the target's rules
              (points/rules.py). The result is an AcceptedReport (context.py).
5. Encode     sending/encode.py groups items, builds calls and splits those that are too large.
              sending/declare.py builds the calls that declare new metrics first.
6. Coalesce   sending/coalesce.py merges the groups of several reports into one batch.
7. Sign       sending/sign.py signs a call with the target's recipe (recipe/sign.py), and builds login and poll calls.
8. Classify   outcome/classify.py reads the answer by the provider's rules, outcome/rejections.py finds the rejected
              items, and sending/breaker.py decides whether to pause the target.
9. Combine    outcome/combine.py makes one outcome of all calls, with the codes that the reporter sees. In queued mode,
              outcome/outcome.py decides for each stored point: ack, retry or dead letter.
10. Reply     outcome/reply.py builds the reply in the reporter's dialect, without secrets (outcome/masking.py).

Two other kinds of requests take their own way through `pipeline.py`: relays (vendor/relay.py) skip data points, and
local calls (vendor/local_calls.py) such as login need no upstream. Providers and routes (vendor/provider.py,
vendor/route.py) and compiled expressions (expression/) are immutable and come from `gateway/specs`.

No socket, file, clock, randomness, environment, logging, aiohttp, pydantic or async; `tests/test_layers.py` checks it.
"""
