"""The option `--ray`, whose address may be left out."""

import pytest

from cli.command import nwave
from nwavesdk.cli.errors import checked_words


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--ray"], ["--ray=local"]),
        (["--ray", "--json"], ["--ray=local", "--json"]),
        (["--ray", "auto", "x"], ["--ray", "auto", "x"]),
        (["--ray", "head:6379"], ["--ray", "head:6379"]),
        (["--ray=head:6379"], ["--ray=head:6379"]),
        (["--ray", "runs/chip"], ["--ray=local", "runs/chip"]),
    ],
)
def test_an_address_is_taken_only_if_it_is_one(words: list[str], expected: list[str]) -> None:
    assert checked_words(words) == expected


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("compare", "--out", "x", "--ray=nowhere"), "--ray: got 'nowhere', expected local"),
        (("compare", "--out", "x", "--ray", "--jobs", "2"), "--jobs: has no effect with --ray"),
        (("chips", "x", "--ray=a b:3"), "--ray: got 'a b:3', expected local"),
    ],
)
def test_a_bad_address_is_one_line(words: tuple[str, ...], line: str) -> None:
    result = nwave(*words)
    assert result.exit_code == 2
    assert line in result.stderr
    assert len(result.stderr.splitlines()) == 1
