"""Outcomes: classified from answers, combined for a report, and written as a reply."""
