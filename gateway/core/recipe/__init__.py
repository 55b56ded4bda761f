"""Signature recipes: one description of a scheme signs and verifies. See docs/reference.md.

A recipe (`model`) has slots (values on the wire), carriers (their places) and steps (named pure values); `slots` has
the first two. `syntax` has templates and the syntax of carriers, `filters` the functions that templates apply.
`carriers` reads and writes slots, `canonical` canonicalises pairs, `times` writes and reads times, `evaluate` computes
steps and signatures. `sign` and `verify` are the two directions, `keyring` has their credentials, `session_tokens` the
sessions that the gateway issues. `dataflow` finds what a signature covers.
"""
