"""The page on nets: its programs run, one after the other."""

from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "nets.md"


def test_the_programs_of_the_page_run():
    names = {}
    for block in PAGE.read_text(encoding="utf-8").split("```python\n")[1:]:
        exec(block.split("```")[0], names)
    assert names["loss"].isfinite()
    assert names["mem"].shape == (1, 5)
    assert set(names["rates"]) == {"0.0.2", "0.1.2", "1.body.2", "4"}
