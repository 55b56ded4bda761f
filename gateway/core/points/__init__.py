"""Data points: decode them from a report, apply rules, and change them for a route."""
