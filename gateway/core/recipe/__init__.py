"""Signature recipes: one description of a scheme, used to sign and to verify.

A recipe has slots (what travels, or is needed), carriers (where each slot sits on the wire) and steps (named pure
values). The kind of a slot says what each direction does with it. See docs/reference.md.
"""
