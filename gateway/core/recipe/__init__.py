"""Signature recipes: one description of a scheme signs and verifies. See docs/reference.md.

A recipe (`model`) has slots (values on the wire), carriers (their places) and steps (named pure values). `syntax` has
templates and the syntax of carriers, `filters` the functions that templates apply. `carriers` reads and writes slots,
`canonical` canonicalises pairs, `evaluate` computes steps and signatures, `times` and `rsa` support them. `sign` and
`verify` are the two directions, `keyring` has their credentials. `dataflow` finds what a signature covers.
"""
