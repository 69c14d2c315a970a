"""docs/sparsity.md: its code runs and prints what it says."""

import re
from pathlib import Path

import torch

PAGE = (Path(__file__).parents[1] / "docs" / "sparsity.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)


def test_the_code_runs_as_written(capsys):
    torch.manual_seed(0)
    scope = {}
    for code, text in CODE:
        exec(compile(code, "sparsity.md", "exec"), scope)
        assert capsys.readouterr().out == text
    assert len(CODE) == 3
