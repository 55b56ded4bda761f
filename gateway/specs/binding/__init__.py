"""Binds YAML nodes to objects by tables of keys, and derives JSON Schema and documentation from the same tables."""
