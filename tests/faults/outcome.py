"""One case of the suite, and the judge: success, or one line that names what is wrong.

A case copies what it needs into an empty folder, damages it, and runs one command there. It is
clean if `judge` finds nothing.
"""

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from faults.worker import MOST_SECONDS, Outcome, Worker
from nwavesdk.internal.files import printable

# Size above which content is not hashed: sparse files.
MOST_HASHED = 2**26
REPEAT = "python -m benchmarks.faults"
# Letters of a line.
MOST_LETTERS = 2100
# The file that code in a damaged file would make.
EXECUTED = "code-of-a-file-was-here"
# Words that announce an expectation or a remedy.
HELPFUL = re.compile(
    r"\b(expected|see|copy|align|must|should|choose|give|set|use|check|name|restore|remove|repair|free|change|"
    r"lower|raise|leave|begin|add|write|run|export|train|separate|unset|correct|call|pass|put|"
    r"install|between|at least|at most|one of|missing|try|convert|record|shorten|quote|resume|wait|"
    r"not permitted|unexpected|maximum)\b",
    re.IGNORECASE,
)
# Lines that a command prints on its way, before the line of an error.
PROGRESS = re.compile(
    r"^nwave: (note|warning): |^epoch +\d|^\d+ classes: |^split by |^net \S"
    r"|^training, validation and test|^\d+/\d+ |^measuring|^\r|^ *\d+%"
)
# Errors about two options together, which may name others than the one that is tried; and about an
# extra that is missing, whatever the value.
TOGETHER = re.compile(
    r"has no effect|have no effect|although other options|leave one of them out"
    r"|is not installed: pip install"
)


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
        most_seconds: Longest time of the command.
        undamaged: Fills the folder without the damage, if a success must then print the same.
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
    most_seconds: float = MOST_SECONDS
    undamaged: Callable[[Path], None] | None = None

    @property
    def group(self) -> str:
        """The first part of its name."""
        return self.name.split("/", 1)[0]


@dataclass(frozen=True)
class Verdict:
    """What the judge found in the outcome of a case; nothing if it is clean."""

    case: Case
    outcome: Outcome
    problems: tuple[str, ...]

    def text(self, seed: int = 0) -> str:
        """What was found, what was printed, and how to repeat it: cases depend on the seed."""
        printed = (self.outcome.stderr or self.outcome.stdout)[-1500:]
        lines = [
            f"{printable(self.case.name)}: {'; '.join(self.problems)}",
            f"  nwave {' '.join(map(repr, shortened(self.case.words)))}",
            f"  exit code {self.outcome.code} after {self.outcome.seconds:.1f} s; it printed:",
            *(f"    {printable(line)[:300]}" for line in printed.splitlines()[-12:]),
            f"  repeat: {REPEAT} --seed {seed} --case {shell_word(self.case.name)}",
        ]
        return "\n".join(lines)


def try_case(case: Case, worker: Worker, folder: Path) -> Verdict:
    """Run a case in a folder, which is made before and removed afterwards."""
    folder.mkdir(parents=True)
    try:
        try:
            case.prepare(folder)
        except OSError as error:
            outcome = Outcome(0, "", "", failure=f"the case cannot be prepared: {error!r}")
            return Verdict(case, outcome, (outcome.failure,))
        before = snapshot(folder)
        outcome = worker.run(
            case.words,
            folder,
            variables=case.variables,
            encoding=case.encoding,
            most_seconds=case.most_seconds,
        )
        problems = judge(case, outcome) + judge_files(case, outcome, before, snapshot(folder))
        if case.undamaged is not None and not outcome.failure and outcome.code in (0, 1):
            expected = _undamaged_output(case, case.undamaged, worker, folder)
            if comparable(outcome.stdout) != expected:
                problems.append("the damage changed the result without a word")
    finally:
        shutil.rmtree(os.fsencode(folder), ignore_errors=True)
    return Verdict(case, outcome, tuple(problems))


_outputs: dict[tuple[str, ...], str] = {}


def _undamaged_output(
    case: Case, prepare: Callable[[Path], None], worker: Worker, folder: Path
) -> str:
    """What the command prints without the damage; run once per command."""
    if case.words not in _outputs:
        shutil.rmtree(os.fsencode(folder))
        folder.mkdir()
        prepare(folder)
        outcome = worker.run(case.words, folder, variables=case.variables)
        _outputs[case.words] = comparable(outcome.stdout)
    return _outputs[case.words]


def judge(case: Case, outcome: Outcome) -> list[str]:
    """What is wrong with the output and the exit code."""
    if outcome.failure:
        return [outcome.failure]
    problems = []
    for name, text in (("output", outcome.stdout), ("standard error", outcome.stderr)):
        if raw := sorted(set(re.findall(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", text))):
            problems.append(f"raw control characters on {name}: {''.join(map(repr, raw))}")
    if "Traceback (most recent call last)" in outcome.stderr:
        last = outcome.stderr.rstrip().splitlines()[-1]
        return [*problems, f"a traceback: {printable(last)[:200]}"]
    succeeded = outcome.code == 0 or (outcome.code == 1 and case.words[0] == "check")
    if succeeded:
        if case.must_fail:
            problems.append("it succeeded, expected an error")
        problems += _judge_json(case, outcome.stdout)
        problems += [f"a Python warning: {line}" for line in _python_warnings(outcome.stderr)[:1]]
        return problems
    if case.must_succeed:
        problems.append(f"an error, expected success: {printable(outcome.stderr[-300:])}")
    if outcome.code != 2:
        return [*problems, f"exit code {outcome.code}, expected 0 or 2"]
    return problems + _judge_error(case, outcome)


def _judge_error(case: Case, outcome: Outcome) -> list[str]:
    lines = [line for line in outcome.stderr.splitlines() if line.strip()]
    lines = [line for line in lines if not PROGRESS.search(line)]
    if len(lines) != 1 or not lines[0].startswith("nwave"):
        first = printable(lines[0])[:120] if lines else ""
        return [f"{len(lines)} lines of error, expected one that starts with nwave: {first}"]
    line = lines[0]
    problems = []
    if TOGETHER.search(line):
        return []
    if case.names and not any(printable(name).lower() in line.lower() for name in case.names):
        problems.append(f"the error names none of {', '.join(map(printable, case.names))[:200]}")
    if case.values and not any(value in line for value in case.values):
        problems.append(f"the error does not show the value ({case.values[0][:60]})")
    if not HELPFUL.search(line.split(": ", 1)[-1]):
        problems.append("the error gives neither an expectation nor a remedy")
    if len(line) > MOST_LETTERS:
        problems.append(f"the error has {len(line):,} characters")
    if "--json" in case.words and not _has_json_error(outcome.stdout):
        problems.append("--json: no object with the error on standard output")
    return problems


def comparable(output: str) -> str:
    """The output of a command without what differs between two calls: times and sizes."""
    return re.sub(r'"seconds": [\d.e-]+|[\d.]+ s\b|"bytes": \d+', "", output).strip()


def _has_json_error(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict) and "error" in json.loads(text)
    except ValueError:
        return False


def _judge_json(case: Case, text: str) -> list[str]:
    if "--json" not in case.words:
        return []

    def reject(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        value = json.loads(text, parse_constant=reject)
    except ValueError as error:
        return [f"--json: the output is not one JSON object: {error}"]
    return [] if isinstance(value, dict) else ["--json: the output is not an object"]


def _python_warnings(text: str) -> list[str]:
    return re.findall(r"^\S+\.py:\d+: \w*Warning: .*$", text, re.MULTILINE)


# Files

Snapshot = dict[str, tuple[str, ...]]


def snapshot(folder: Path) -> Snapshot:
    """Kind, mode and content of all that is in a folder, by name."""
    found: Snapshot = {}
    pending = [os.fsencode(folder)]
    while pending:
        for entry in os.scandir(pending.pop()):
            status = entry.stat(follow_symlinks=False)
            name = os.fsdecode(os.path.relpath(entry.path, os.fsencode(folder)))
            found[name] = (oct(status.st_mode), _content(entry.path, status))
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
    return found


def _content(path: bytes, status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return os.fsdecode(os.readlink(path))
    if stat.S_ISREG(status.st_mode) and status.st_size <= MOST_HASHED:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    return "" if stat.S_ISDIR(status.st_mode) else str(status.st_size)


def judge_files(case: Case, outcome: Outcome, before: Snapshot, after: Snapshot) -> list[str]:
    """What is wrong with the files that a command leaves behind."""
    problems = []
    drafts = [name for name in after.keys() - before.keys() if re.search(r"\.draft$|\.tmp$", name)]
    if drafts and not outcome.failure:
        problems.append(f"a draft is left behind: {printable(drafts[0])}")
    if any(Path(name).name == EXECUTED for name in after.keys() - before.keys()):
        problems.append("code from a file was executed")
    if outcome.code in (0, 1) and not outcome.failure:
        return problems
    changed = [name for name, content in before.items() if after.get(name) != content]
    if changed:
        problems.append(f"an error, but it changed {printable(sorted(changed)[0])}")
    new = sorted(after.keys() - before.keys())
    if new and not case.may_write:
        problems.append(f"an error, but it left {printable(new[0])} behind")
    return problems


# Texts


def forms_of(value: str) -> tuple[str, ...]:
    """The forms in which an error may show a value: escaped, shortened, as a number."""
    shown = printable(value)
    on_one_line = printable(" ".join(value.split()))
    texts = (shown, repr(value)[1:-1], on_one_line)
    forms = {form for text in texts for form in (text[:12], text[-12:])} - {""}
    if not value.strip(" ,"):
        forms |= {"''", '""', "empty", "' '"}
    try:
        number = float(value)
    except ValueError:
        return tuple(sorted(forms))
    forms |= {repr(number), f"{number:g}", str(number)}
    if number == number and abs(number) != float("inf"):
        forms |= {str(int(number))[:8], f"{int(number):,}"[:8]}
    return tuple(sorted(forms))


def shortened(words: tuple[str, ...]) -> list[str]:
    return [word if len(word) < 80 else f"{word[:40]}…({len(word)} characters)" for word in words]


def shell_word(text: str) -> str:
    """A word of bash for any text."""
    if re.fullmatch(r"[\w/.=,:@%+#-]+", text, re.ASCII):
        return text
    content = text.encode("unicode_escape").decode("ascii").replace("'", "\\'")
    return f"$'{content}'"
