import pytest

from gateway.specs.yaml.diagnostic import Diagnostic, Diagnostics, Mark, Severity

MARK = Mark("acme.yaml", 16, 5)


def test_error_is_place_path_what_and_hint_in_one_line():
    found = Diagnostic(Severity.ERROR, MARK, "receive.point", "unknown key 'time_sn'", "did you mean 'time_ns'?")

    assert str(found) == "acme.yaml:16:5: receive.point: unknown key 'time_sn'; did you mean 'time_ns'?"


@pytest.mark.parametrize("severity", [Severity.WARNING, Severity.NOTE], ids=str)
def test_severity_below_error_follows_the_place(severity: Severity):
    found = Diagnostic(severity, MARK, "send.url", "it is http", "use https")

    assert str(found) == f"acme.yaml:16:5: {severity}: send.url: it is http; use https"


def test_empty_path_and_hint_are_left_out():
    assert str(Diagnostic(Severity.ERROR, MARK, "", "not YAML")) == "acme.yaml:16:5: not YAML"


def test_line_breaks_in_texts_become_blanks():
    found = Diagnostic(Severity.ERROR, MARK, "a", "one\ntwo", "three\r\nfour")

    assert str(found) == "acme.yaml:16:5: a: one two; three four"


def test_json_form_has_every_member():
    found = Diagnostic(Severity.NOTE, MARK, "a.b", "what", "hint")

    assert found.as_json() == {
        "severity": "note",
        "file": "acme.yaml",
        "line": 16,
        "column": 5,
        "path": "a.b",
        "what": "what",
        "hint": "hint",
    }


def test_diagnostics_are_sorted_by_file_line_and_column():
    found = Diagnostics()
    for file, line, column in [("b", 1, 1), ("a", 10, 1), ("a", 9, 2), ("a", 9, 1)]:
        found.error(Mark(file, line, column), "", "x")

    assert [str(each) for each in found] == ["a:9:1: x", "a:9:2: x", "a:10:1: x", "b:1:1: x"]


def test_diagnostics_of_one_place_keep_the_order_they_were_added_in():
    found = Diagnostics()
    found.error(MARK, "", "second in the alphabet")
    found.error(MARK, "", "first")

    assert [each.what for each in found] == ["second in the alphabet", "first"]


def test_identical_diagnostics_count_once():
    found = Diagnostics()
    found.error(MARK, "a", "x")
    found.error(MARK, "a", "x")

    assert len(found) == 1


def test_warnings_and_notes_are_no_errors():
    found = Diagnostics()
    found.warning(MARK, "", "x")
    found.note(MARK, "", "x")

    assert not found.has_errors


def test_one_error_among_warnings_is_noticed():
    found = Diagnostics()
    found.warning(MARK, "", "x")
    found.error(MARK, "", "x")

    assert found.has_errors
