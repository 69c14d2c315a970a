"""The commands and the Python of `docs/nir.md` run and find equal spikes."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from cli.command import nwave

PAGE = Path(__file__).parents[1] / "docs/nir.md"


@pytest.mark.interop
def test_the_first_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line as it is, but training is short and its report has empty pictures."""
    pytest.importorskip("lightning")
    monkeypatch.setattr("nwavesdk.train.report.page.render_png", lambda *_: b"")
    monkeypatch.chdir(tmp_path)
    block = re.search(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert block is not None
    outputs = []
    for line in block[1].splitlines():
        program, *words = shlex.split(line, comments=True)
        short = ["--epochs", "1", "--limit", "60"] if words[0] == "train" else []
        result = nwave(*words, *short)
        assert (program, result.exit_code) == ("nwave", 0), (line, result.output)
        outputs.append(result.stdout)
    assert len(outputs) == 5
    assert all(re.search(r"[1-9][\d,]* spikes in .* are equal", text) for text in outputs[1:3])


@pytest.mark.interop
def test_the_example_compares_equal_spikes():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, str(PAGE), "exec"), {})
    assert re.fullmatch(
        r"[1-9][\d,]* spikes in .* are equal, membranes within 0\n", output.getvalue()
    )
