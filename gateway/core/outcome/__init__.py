"""Outcomes: classify answers, combine outcomes for a report, settle stored points, build replies, mask secrets."""
