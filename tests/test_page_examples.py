"""Pages of the documentation: their code runs and prints what they say."""

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.command import nwave

DOCS = Path(__file__).parents[1] / "docs"
# A block of code, and the block of its output if there is one.
EXAMPLE = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.DOTALL)
PATTERNS = (
    *("explanation/*.md", "how-to/*.md", "index.md"),
    *("convolution.md", "losses.md", "normalization.md", "sparsity.md"),
)
PAGES = {
    page: EXAMPLE.findall(page.read_text(encoding="utf-8"))
    for pattern in PATTERNS
    for page in sorted(DOCS.glob(pattern))
    if page.stem != "kernels"  # excerpts of kernels, which tests/cli compares
}


@pytest.mark.parametrize(
    "page", [page for page, examples in PAGES.items() if examples], ids=lambda page: page.stem
)
def test_the_code_runs_as_written(page, capsys, tmp_path, monkeypatch):
    """It is one script; a block that begins with the name of a file is that file."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    scope = {}
    for code, text in PAGES[page]:
        if name := re.match(r"# (\w+)\.py\n", code):
            monkeypatch.delitem(sys.modules, name[1], raising=False)
            (tmp_path / f"{name[1]}.py").write_text(code, encoding="utf-8")
            continue
        exec(compile(code, page.name, "exec"), scope)
        printed = capsys.readouterr().out
        assert not text or printed == text


def names_of(page: str) -> dict[str, Any]:
    """Run the blocks of a page, one after the other, and return their names."""
    names: dict[str, Any] = {}
    for code, _ in EXAMPLE.findall((DOCS / page).read_text(encoding="utf-8")):
        exec(compile(code, page, "exec"), names)
    return names


def test_the_programs_of_the_page_of_nets_run() -> None:
    names = names_of("nets.md")
    assert names["loss"].isfinite()
    assert names["mem"].shape == (1, 5)
    assert set(names["rates"]) == {"0.0.2", "0.1.2", "1.body.2", "4"}


@pytest.mark.interop
def test_the_page_of_neurobench_counts_what_the_harness_alone_does_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from neurobench.models import TorchModel

    names = names_of("neurobench.md")
    # Four recordings of 50 steps, 16 inputs, 8 neurons.
    output = capsys.readouterr().out
    assert "'Dense': 6400.0" in output
    assert "'MembraneUpdates': 400.0" in output
    model, numbers = TorchModel(names["net"]), names["metrics"]
    alone = names["Benchmark"](model, names["loader"], [], [], numbers).run(quiet=True)
    assert alone["SynapticOperations"]["Dense"] == alone["MembraneUpdates"] == 0


@pytest.mark.interop
def test_the_first_commands_of_the_page_of_nir_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line as it is, but training is short and its report has empty pictures."""
    pytest.importorskip("lightning")
    monkeypatch.setattr("nwavesdk.train.report.page.render_png", lambda *_: b"")
    monkeypatch.chdir(tmp_path)
    block = re.search(r"```sh\n(.*?)```", (DOCS / "nir.md").read_text(encoding="utf-8"), re.S)
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
def test_the_example_of_the_page_of_nir_compares_equal_spikes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names_of("nir.md")
    assert re.fullmatch(
        r"[1-9][\d,]* spikes in .* are equal, membranes within 0\n", capsys.readouterr().out
    )
