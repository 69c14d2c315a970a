"""docs/your-neuron.md: its code runs, its errors are what it says, and its resets reset."""

import linecache
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from nwavesdk.layers import PageError, prepare_net

PAGE = (Path(__file__).parents[1] / "docs" / "your-neuron.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", PAGE, re.DOTALL)


def name_of_file(code):
    """A block of code that begins with the name of a file is that file."""
    name = re.match(r"# (\w+)\.py\n", code)
    return name and name[1]


def test_the_code_runs_as_written(tmp_path, capsys, monkeypatch):
    """It is one script; the text below a block is what the block prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    scope = {}
    for code, text in CODE:
        if name := name_of_file(code):
            monkeypatch.delitem(sys.modules, name, raising=False)
            Path(f"{name}.py").write_text(code, encoding="utf-8")
            runpy.run_path(f"{name}.py")
        else:
            exec(compile(code, "your-neuron.md", "exec"), scope)
            assert capsys.readouterr().out == text
    assert sum(bool(text) for _, text in CODE) > 2


(EXAMPLE,) = (code for code, _ in CODE if name_of_file(code) == "example")


def rows_below(head):
    """The cells of a table, by its head."""
    table = PAGE.partition(f"| {head} |\n")[2].partition("\n\n")[0]
    return [re.split(r" ?\| ?", row)[1:-1] for row in table.splitlines()[1:]]


def define(code, folder):
    """Import a module of this code, and return its names."""
    path = folder / "example.py"
    path.write_text(code, encoding="utf-8")
    linecache.checkcache(str(path))
    return runpy.run_path(str(path))


def with_line(cell):
    """The example with a line in the place of the one that begins alike, or after its first."""
    line = cell.strip("`")
    kind = line.split()[0] if line.startswith(("def ", "s = ", "return ")) else None
    lines = []
    for old in EXAMPLE.splitlines():
        indent = old[: len(old) - len(old.lstrip())]
        lines.append(indent + line if old.split()[:1] == [kind] else old)
        lines += [indent + line] if kind is None and old.startswith("    u = ") else []
    return "\n".join(lines)


@pytest.mark.parametrize("row", rows_below("line | error | write instead"), ids=lambda row: row[0])
def test_a_line_that_pages_cannot_have(row, tmp_path):
    wrong, reason, right = row
    with pytest.raises(PageError, match=re.escape(reason)):
        define(with_line(wrong), tmp_path)
    if not right.startswith("nothing"):
        define(with_line(right), tmp_path)


def test_an_error_names_file_and_line(tmp_path):
    with pytest.raises(PageError) as error:
        define(EXAMPLE.replace("    u = decay", "    u = decai"), tmp_path)
    line = EXAMPLE.splitlines().index("    u = decay(tau) * v + x") + 1
    assert str(error.value).startswith(f"{tmp_path / 'example.py'}:{line} (u = decai(tau)")


@pytest.mark.parametrize("row", rows_below("reset | last line"), ids=lambda row: row[0])
def test_a_reset_of_pages(row, tmp_path):
    layer = define(with_line(row[1]), tmp_path)["ExampleLayer"](1, solver="reference")
    prepare_net(layer)
    record = layer.record(torch.full((1, 1, 1), 1.25))
    expected = {"by subtraction": 0.25, "to 0": 0.0, "to -0.5": -0.5, "none": 1.25}[row[0]]
    assert record.mem.item() == expected
