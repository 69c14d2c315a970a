"""One case of the suite, and the judge: success, or one line that names what is wrong.

A case copies what it needs into an empty folder, damages it, and runs one command there. It is
clean if `judge` finds nothing.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from faults.running import MAX_SECONDS, Outcome, Setting, call, run
from nwavesdk.internal.files import printable

# Size above which content is not hashed: sparse files.
MAX_HASHED = 2**26
REPEAT = "python -m benchmarks.faults"
# Letters of a line.
MAX_LETTERS = 2100
# The file that code in a damaged file would make.
EXECUTED = "code-of-a-file-was-here"
# Words that announce an expectation or a remedy.
HELPFUL = re.compile(
    r"\b(expected|see|copy|align|must|should|choose|give|set|use|check|name|restore|remove|repair|free|change|"
    r"lower|raise|leave|begin|add|write|run|export|train|separate|unset|correct|call|pass|put|"
    r"save|install|between|at least|at most|one of|missing|try|convert|record|shorten|quote|resume|"
    r"wait|not permitted|unexpected|maximum)\b",
    re.IGNORECASE,
)
# Lines that a command prints on its way, before the line of an error.
PROGRESS = re.compile(
    r"^nwave: (note|warning): |^epoch +\d|^\d+ classes: |^split by |^net \S"
    r"|^training, validation and test|^\d+/\d+ |^measuring|^\r|^ *\d+%"
    r"|^(?!nwave)[^:]+: (stopped after epoch \d+, )?(test|validation) "  # a finished cell
)
# Errors about two options together, which may name others than the one that is tried; and about an
# extra that is missing, whatever the value.
TOGETHER = re.compile(
    r"has no effect|have no effect|although other options|leave one of them out"
    r"|is not installed: pip install"
)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]+")
PYTHON_WARNING = re.compile(r"^\S+\.py:\d+: \w*Warning: .*$", re.MULTILINE)


@dataclass(frozen=True)
class Verdict:
    """What is wrong with the outcome of a case; nothing if it is clean."""

    name: str
    words: tuple[str, ...]
    outcome: Outcome
    problems: tuple[str, ...]

    @property
    def group(self) -> str:
        """The group of the case."""
        return self.name.split("/", 1)[0]

    def text(self, seed: int = 0) -> str:
        """The problems, the output, and how to repeat the case: cases depend on the seed."""
        printed = (self.outcome.stderr or self.outcome.stdout)[-1500:]
        shown = [f"{word[:40]!r}" for word in self.words]
        lines = [
            f"{printable(self.name)}: {'; '.join(self.problems)}",
            f"  nwave {' '.join(shown)}",
            f"  exit code {self.outcome.code} after {self.outcome.seconds:.1f} s; it printed:",
            *(f"    {printable(line)[:300]}" for line in printed.splitlines()[-12:]),
            f"  repeat: {REPEAT} --seed {seed} --case {shlex.quote(self.name)}",
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class Trial:
    """Something to try.

    Attributes:
        name: Unique, and the same in each run: it finds the case again. Its first part is the
            group.
        run: Tries it in a new folder, and returns what is wrong.
    """

    name: str
    run: Callable[[Path], list[str]]

    def verdict(self, folder: Path) -> Verdict:
        """Try it in a folder, which must not exist and is removed."""
        begin = time.monotonic()
        try:
            problems = self.run(folder)
        finally:
            remove(folder)
        outcome = Outcome(0, "", "", time.monotonic() - begin)
        return Verdict(self.name, ("…",), outcome, tuple(problems))


@dataclass(frozen=True)
class Case:
    """A command in a folder that holds something wrong.

    Attributes:
        name: Unique, and the same in each run: it finds the case again.
        words: The command line without `nwave`.
        prepare: Fills the empty folder of the case.
        names: Texts of which an error contains one: the file, the option, the field.
        values: Forms of the bad value, of which an error contains one; none: it is not checked.
        variables: Further environment variables.
        encoding: Encoding of the output.
        must_fail: Whether success is wrong.
        must_succeed: Whether an error is wrong.
        may_write: Whether a failing command may leave new files behind: a run that has begun.
        max_seconds: Longest time of the command.
    """

    name: str
    words: tuple[str, ...]
    prepare: Callable[[Path], None]
    names: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"
    must_fail: bool = False
    must_succeed: bool = False
    may_write: bool = False
    max_seconds: float = MAX_SECONDS

    def verdict(self, folder: Path) -> Verdict:
        """Run the command in a folder, which must not exist and is removed."""
        folder.mkdir(parents=True)
        try:
            try:
                self.prepare(folder)
            except OSError as error:
                outcome = Outcome(0, "", "", failure=f"the case cannot be prepared: {error!r}")
                return Verdict(self.name, self.words, outcome, (outcome.failure,))
            before = snapshot(folder)
            setting = Setting(self.variables, self.encoding, draws=True)
            outcome = run(self.words, folder, setting, call, self.max_seconds)
            problems = judge(self, outcome) + judge_files(self, outcome, before, snapshot(folder))
        finally:
            remove(folder)
        return Verdict(self.name, self.words, outcome, tuple(problems))


def remove(folder: Path) -> None:
    """Remove the folder of a case with its output."""
    for each in (folder, folder.with_name(f"{folder.name}.logs")):
        shutil.rmtree(os.fsencode(each), ignore_errors=True)


def judge(case: Case, outcome: Outcome) -> list[str]:
    """What is wrong with the output and the exit code."""
    if outcome.failure:
        return [outcome.failure]
    if "Traceback (most recent call last)" in outcome.stderr:
        return [f"a traceback: {printable(outcome.last_line)}"]
    problems = []
    if raw := CONTROL.search(outcome.stdout + outcome.stderr):
        problems.append(f"raw control characters: {raw[0]!r}")
    problems += _judge_json(case, outcome)
    has_succeeded = outcome.code == 0 or (outcome.code == 1 and case.words[0] == "check")
    if has_succeeded:
        problems += ["it succeeded, expected an error"] * case.must_fail
        if warning := PYTHON_WARNING.search(outcome.stderr):
            problems.append(f"a Python warning: {warning[0]}")
        return problems
    if case.must_succeed:
        problems.append(f"an error, expected success: {printable(outcome.last_line)}")
    if outcome.code != 2:
        return [*problems, f"exit code {outcome.code}, expected 0 or 2"]
    return problems + _judge_error(case, outcome)


def _judge_error(case: Case, outcome: Outcome) -> list[str]:
    lines = [line for line in outcome.stderr.splitlines() if line.strip()]
    lines = [line for line in lines if not PROGRESS.search(line)]
    line = lines[0] if lines else ""
    if len(lines) != 1 or not line.startswith("nwave"):
        shown = printable(line)[:120]
        return [f"{len(lines)} lines of error, expected one that starts with nwave: {shown}"]
    if TOGETHER.search(line):
        return []
    problems = []
    if case.names and not any(printable(name).lower() in line.lower() for name in case.names):
        problems.append(f"the error names none of {', '.join(map(printable, case.names))[:200]}")
    if case.values and not any(value in line for value in case.values):
        problems.append(f"the error does not show the value ({case.values[0][:60]})")
    if not HELPFUL.search(line.split(": ", 1)[-1]):
        problems.append("the error gives neither an expectation nor a remedy")
    if len(line) > MAX_LETTERS:
        problems.append(f"the error has {len(line):,} characters")
    return problems


def _judge_json(case: Case, outcome: Outcome) -> list[str]:
    def reject(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    if "--json" not in case.words:
        return []
    try:
        value = json.loads(outcome.stdout, parse_constant=reject)
    except ValueError as error:
        return [f"--json: the output is not one JSON object: {error}"]
    if not isinstance(value, dict) or (outcome.code == 2 and "error" not in value):
        return ["--json: the output is not an object, or has no error"]
    return []


# Files

Snapshot = dict[str, tuple[int, str]]


def snapshot(folder: Path) -> Snapshot:
    """Mode and content of all that is in a folder, by name."""
    names = [
        os.path.join(parent, name)
        for parent, folders, files in os.walk(folder)
        for name in [*folders, *files]
    ]
    return {
        os.path.relpath(name, folder): (os.lstat(name).st_mode, _content(name)) for name in names
    }


def _content(name: str) -> str:
    status = os.lstat(name)
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(name)
    if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_HASHED:
        return hashlib.sha256(Path(name).read_bytes()).hexdigest()
    return "" if stat.S_ISDIR(status.st_mode) else str(status.st_size)


def judge_files(case: Case, outcome: Outcome, before: Snapshot, after: Snapshot) -> list[str]:
    """What is wrong with the files that a command leaves behind."""
    new = sorted(after.keys() - before.keys())
    changed = sorted(name for name in before if after.get(name) != before[name])
    drafts = [name for name in new if name.endswith((".draft", ".tmp"))]
    problems = []
    if drafts and not outcome.failure:
        problems.append(f"a draft is left behind: {printable(drafts[0])}")
    if any(Path(name).name == EXECUTED for name in new):
        problems.append("code from a file was executed")
    if outcome.code in (0, 1) and not outcome.failure:
        return problems
    if changed:
        problems.append(f"an error, but it changed {printable(changed[0])}")
    if new and not case.may_write:
        problems.append(f"an error, but it left {printable(new[0])} behind")
    return problems


# Texts


@cache
def forms_of(value: str) -> tuple[str, ...]:
    """The forms in which an error may show a value: escaped, shortened, as a number."""
    texts = (printable(value), repr(value)[1:-1], printable(" ".join(value.split())))
    forms = {form for text in texts for form in (text[:12], text[-12:])} - {""}
    if not value.strip(" ,"):
        forms |= {"''", '""', "empty", "' '"}
    with suppress(ValueError, OverflowError):
        number = float(value)
        forms |= {repr(number), f"{number:g}"}
        forms |= {str(int(number))[:8], f"{int(number):,}"[:8]}
    return tuple(sorted(forms))
