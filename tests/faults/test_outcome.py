"""The judge sees what it should see."""

from pathlib import Path

import pytest

from faults.outcome import Case, Verdict, forms_of, judge, judge_files, snapshot
from faults.running import Outcome

GOOD = "nwave: net.hidden: got 'x', expected whole numbers.\n"


def case(*words: str, **options: object) -> Case:
    return Case("options/x", words or ("train",), print, **options)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(2, "", GOOD + GOOD), "2 lines of error"),
        (Outcome(2, "", ""), "0 lines of error"),
        (Outcome(2, "", "Usage: nwave train"), "starts with nwave"),
        (Outcome(2, "", "nwave: something is wrong with hidden x"), "neither"),
        (Outcome(2, "", "nwave: expected another value of hidden"), "does not show the value"),
        (Outcome(2, "", "nwave: got 'x', expected another value"), "names none of"),
        (Outcome(1, "", GOOD), "exit code 1"),
        (Outcome(-9, "", "", failure="it did not end in time"), "did not end"),
        (Outcome(0, "\x1b[31m", ""), "raw control characters"),
        (Outcome(0, "", "a.py:3: UserWarning: so so\n  code()\n"), "a Python warning"),
        (Outcome(0, "", ""), "it succeeded"),
        (
            Outcome(2, "", "Traceback (most recent call last):\nValueError: hidden 'x'\n" + GOOD),
            "a traceback",
        ),
    ],
)
def test_judge_finds(outcome: Outcome, words: str) -> None:
    tried = case(names=("hidden",), values=("'x'",), must_fail=True)
    assert any(words in problem for problem in judge(tried, outcome))


def test_a_failing_case_names_the_command_that_repeats_it() -> None:
    text = Verdict("options/x", ("train",), Outcome(1, "", ""), ("so so",)).text(5)
    assert text.endswith("repeat: python -m benchmarks.faults --seed 5 --case options/x")


def test_judge_accepts_one_line_after_progress() -> None:
    progress = "epoch   1/2  loss 3.8\natan, seed 0: validation accuracy 0.9000\n"
    assert judge(case(names=("hidden",), values=("'x'",)), Outcome(2, "", progress + GOOD)) == []
    assert judge(case("check"), Outcome(1, "", "")) == []


def test_json_needs_an_object() -> None:
    assert judge(case("eval", "--json"), Outcome(0, '{"a": 1}\n', "")) == []
    assert judge(case("eval", "--json"), Outcome(0, '{"a": NaN}\n', ""))
    assert judge(case("eval", "--json"), Outcome(2, "", GOOD))
    assert judge(case("eval", "--json"), Outcome(2, '{"error": "x"}', GOOD)) == []


def test_an_error_changes_no_file(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("a")
    before = snapshot(tmp_path)
    failed = Outcome(2, "", GOOD)
    assert judge_files(case(), failed, before, snapshot(tmp_path)) == []
    (tmp_path / "new").write_text("b")
    assert "left new behind" in judge_files(case(), failed, before, snapshot(tmp_path))[0]
    assert judge_files(case(may_write=True), failed, before, snapshot(tmp_path)) == []
    assert judge_files(case(), Outcome(0, "", ""), before, snapshot(tmp_path)) == []
    (tmp_path / "old").write_text("c")
    assert "changed old" in judge_files(case(may_write=True), failed, before, snapshot(tmp_path))[0]


def test_forms_of_a_value() -> None:
    assert "inf" in forms_of("1e999")
    assert "\\x1b" in forms_of("\x1b")
    assert "''" in forms_of("")
