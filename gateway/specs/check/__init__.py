"""Checks across a whole spec."""
