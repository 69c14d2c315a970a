"""Whatever a user can cause is one line, whichever command, option or stream it comes from."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from cli.command import json_object, nwave, rejected
from nwavesdk.cli.errors import MAX_LETTERS, error_text
from nwavesdk.internal.files import FileError, FileWriteError


class OutOfMemoryError(RuntimeError):
    """An error with the name of torch's error."""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "no such command 'trian'. Did you mean 'train'? (see `nwave --help`)."),
        (["train"], "--out: missing (see `nwave train --help`)."),
        (["eval"], "RUN: missing (see `nwave eval --help`)."),
        (["eval", "a", "b"], "got unexpected extra argument"),
        (["map", "x", "--plto", "a.png"], "option: --plto, did you mean --plot? (see"),
        (["train", "--lr", "1"], "no such option: --lr, did you mean --learning-rate? (see"),
        (["train", "--batch", "1"], "no such option: --batch, did you mean --batch-size? (see"),
        (["train", "--device", "cpu"], "option: --device, did you mean --accelerator? (see"),
        (["train", "--n-epochs=3"], "no such option: --n-epochs, did you mean --epochs? (see"),
        (["train", "--verbose"], "no such option: --verbose (see `nwave train --help`)."),
        (["train", "--out", "x", "--net", "cnn"], "got 'cnn', expected one of lif, adlif,"),
        (["map", "x", "--plot"], "requires an argument"),
        (["map", "x", "--plot", "--no-plot"], "got '--no-plot', expected a name"),
        (["compare", "--out", "x", "--seeds", "many"], "--seeds: "),
        (["compare", "--out", "x", "--seeds=0"], "(got '0') (see `nwave compare --help`)."),
        (["compare", "--out", "x", "--threads", "9" * 30], "--threads: "),
        (["compare", "--out", "x", "--jobs", str(10**9)], "(got '1000000000')"),
        (["chips", "x", "--wanted", "nan"], "--wanted: "),
        (["train", "--out", "x", "--data="], "--data: an empty text follows, expected a value."),
        (["train", "--out", ""], "--out: an empty text follows, expected a value."),
        (["eval", ""], "an empty text follows, expected a value."),
    ],
)
def test_a_usage_error_is_one_line(words: list[str], message: str) -> None:
    result = nwave(words[0], "--json", *words[1:])
    assert result.exit_code == 2
    assert result.stderr.startswith("nwave: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert result.stderr == f"nwave: {json_object(result)['error']}\n"


def test_without_words_help_is_printed() -> None:
    assert nwave().output.startswith("Usage: nwave ")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("two\nlines"), "two lines"),
        (FileError(Path("a\x1b[31m\r\n"), "is bad"), r"a\x1b[31m\r\n is bad: repair or remove it."),
        (FileWriteError(28, "No space left", "a"), "a cannot be written (No space left): free"),
        (PermissionError(13, "Permission denied", b"a\xff"), r"a\udcff cannot be used (Permission"),
        (MemoryError(), "memory does not suffice (MemoryError): use a smaller net"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory does not suffice"),
        (OutOfMemoryError("CUDA out of memory."), "memory does not suffice"),
        (ModuleNotFoundError("x is not installed"), "x is not installed"),
    ],
)
def test_errors_of_users_have_a_line(error: Exception, text: str) -> None:
    line = error_text(error)
    assert line is not None
    assert line.startswith(text)
    assert line.isprintable()


@pytest.mark.parametrize("error", [RuntimeError("x"), TypeError("x"), ZeroDivisionError()])
def test_bugs_have_no_line(error: Exception) -> None:
    assert error_text(error) is None


def test_a_long_line_loses_its_middle() -> None:
    line = error_text(ValueError(f"begin {'x' * 10_000} end"))
    assert line is not None
    assert len(line) < MAX_LETTERS + 10
    assert line.startswith("begin ")
    assert line.endswith(" end")


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let `nwave surrogates` raise an error."""

    def fail_with(error: BaseException, during: BaseException | None = None) -> None:
        def shapes() -> None:
            if during is not None:
                try:
                    raise during
                finally:
                    raise error
            raise error

        monkeypatch.setattr("nwavesdk.analysis.catalogue_shapes", shapes)

    return fail_with


@pytest.mark.parametrize(
    ("error", "during", "code", "line", "report"),
    [
        (KeyboardInterrupt(), None, 130, "nwave: interrupted\n", {"error": "interrupted"}),
        # Lightning ends an interrupt with an exit.
        (SystemExit(1), KeyboardInterrupt(), 130, "", None),
        (SystemExit(143), None, 143, "", {"error": "interrupted"}),
        # A reader that has enough is no error.
        (BrokenPipeError(32, "Broken pipe"), None, 141, "", None),
    ],
    ids=["interrupt", "interrupt of Lightning", "termination", "closed pipe"],
)
def test_a_command_that_is_ended_has_the_code_of_its_end(
    fail: Any,
    error: BaseException,
    during: BaseException | None,
    code: int,
    line: str,
    report: dict[str, str] | None,
) -> None:
    fail(error, during)
    result = nwave("surrogates", *([] if during else ["--json"]))
    assert (result.exit_code, result.stderr) == (code, line)
    assert (json_object(result) if result.stdout else None) == report


def test_a_warning_is_one_line_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def warn() -> list[Any]:
        warnings.simplefilter("always")
        warnings.warn("careful:\n\x1b[31m", stacklevel=2)
        return []

    monkeypatch.setattr("nwavesdk.analysis.catalogue_shapes", warn)
    before = warnings.showwarning
    result = nwave("surrogates")
    assert result.stderr == "nwave: warning: careful: \\x1b[31m\n"
    assert warnings.showwarning is before


FILE_OPTIONS = [
    ("data x", "--plot", ".png"),
    ("map x", "--plot", ".png"),
    ("chips x", "--plot", ".png"),
    ("slopes x", "--plot", ".png"),
    ("slopes x", "--page", ""),
    ("export x", "--out", ""),
]


@pytest.mark.parametrize(("command", "option", "suffix"), FILE_OPTIONS)
def test_files_that_cannot_be_written_are_rejected_before_any_work(
    command: str, option: str, suffix: str, tmp_path: Path
) -> None:
    target = tmp_path / f"target{suffix}"
    (tmp_path / "file").touch()
    for name, make, message in [
        (target, os.mkfifo, "is a pipe, expected a file"),
        (target, os.mkdir, "is a folder, expected a file"),
        (target, lambda path: os.symlink("file", path), "is a link, expected a file"),
        (target.with_name("x" * 256 + suffix), None, "File name too long"),
        (target.with_name("a\0b" + suffix), None, r"a\x00b"),
        (tmp_path / "file" / target.name, None, "Not a directory"),
    ]:
        if make is not None:
            make(name)

        result = nwave(*command.split(), option, name)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"nwave: {option}: ")
        assert message in result.stderr
        assert result.stderr.count("\n") == 1

        if make is not None:
            os.rmdir(name) if name.is_dir() and not name.is_symlink() else os.unlink(name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("command", ["train", "compare"])
def test_folders_that_cannot_be_made_are_rejected_before_any_work(
    command: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, message in [
        ("file", "is a file, expected a folder"),
        ("pipe", "is a pipe, expected a folder"),
        ("file/run", "Not a directory"),
        ("x" * 300, "File name too long"),
    ]:
        error = rejected(command, "--out", tmp_path / name)
        assert error.startswith("nwave: --out: ")
        assert message in error


@pytest.mark.parametrize(
    ("command", "first", "second"),
    [
        ("data x", "--no-plot", "--plot=a.png"),
        ("map x", "--no-plot", "--plot=a.png"),
        ("chips x", "--no-plot", "--plot=a.png"),
        ("slopes x", "--no-plot", "--plot=a.png"),
        ("slopes x", "--no-plot", "--page=a.html"),
        ("compare --out x", "--ray", "--jobs=2"),
    ],
)
def test_an_option_without_effect_is_rejected(command: str, first: str, second: str) -> None:
    for options in ((first, second), (second, first)):
        result = nwave(*command.split(), *options)
        assert result.exit_code == 2
        option = second.partition("=")[0]
        assert f"{option}: has no effect with {first}: remove it" in result.stderr


def test_a_mistyped_address_of_ray_is_no_extra_argument() -> None:
    error = rejected("tune", "search.toml", "--ray", "head:637x")
    assert "--ray: got 'head:637x', expected local (this machine), auto" in error


def test_an_output_spares_the_files_of_its_run(run: Path) -> None:
    for words in (("slopes", run, "--page"), ("export", run, "--out")):
        error = rejected(*words, run / "config.json")
        assert "config.json belongs to the run, expected another file" in error


@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-", "| true", ">/dev/full"])
def test_streams_may_be_closed_or_have_no_greek(closing: str) -> None:
    code = '-c "from nwavesdk.cli import main; main()" info --chip h1v2'
    end = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} {code} {closing}"],
        # An empty PYTHONUNBUFFERED has no effect: text that cannot be written stays in a buffer.
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUNBUFFERED": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert end.returncode in ({0, 141} if "|" in closing else {2 if "full" in closing else 0})
    assert "Traceback" not in end.stderr
    assert end.stderr.count("\n") == ("full" in closing)
