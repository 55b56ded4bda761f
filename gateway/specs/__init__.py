"""YAML in: from files to one immutable snapshot of core objects, or to a list of diagnostics."""
