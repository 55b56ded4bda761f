"""Keys and words of earlier versions and their replacements, for the error message that an old one gets."""

from collections.abc import Collection

RENAMED = {
    "also": "local_calls",
    "refuse": "reject_report",
    "reject": "reject_item",
    "empty": "allow_empty: true",
    "partial": "on_bad_item: reject_report | reject_item",
    "one_per": "group_by",
    "once_per": "unique_by",
    "drops": "allow_loss",
    "then": "on_failure: retry | dead_letter | pause",
    "UPSTREAM_REFUSED": "UPSTREAM_REJECTED",
}


def replacement(word: str, known: Collection[str]) -> str:
    """Return the hint for an old key or word whose replacement is allowed at this place, else an empty string."""
    new = RENAMED.get(word, "")
    return f"this was renamed: write `{new}`" if new.partition(":")[0] in known else ""
