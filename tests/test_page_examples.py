"""The first page, explanation, how-to, losses and norms: their code prints what it says."""

import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
# A block of code, and the block of its output if there is one.
EXAMPLE = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.DOTALL)
PAGES = {
    page: EXAMPLE.findall(page.read_text(encoding="utf-8"))
    for pattern in ("explanation/*.md", "how-to/*.md", "index.md", "losses.md", "normalization.md")
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
