"""Data points: decoded from a report, checked by rules, with their statistics."""
