"""Pure tools over the core that prove specs and explain failures.

`cases` runs the golden cases of providers and routes, `vectors` the test vectors of recipes. `probe` sends a data point
on a round trip, `capabilities` and `loss` compute what arrives and what is lost. `coverage` finds what a signature
protects, `diagnose` why one was rejected.
"""
