"""The option `--ray` of commands that can run on a Ray cluster: its address may be left out."""

from itertools import pairwise
from typing import Annotated, Any

from nwavesdk.cli.app import checked_option
from nwavesdk.cli.help import SectionedCommand
from nwavesdk.internal.processes import FOUND, LOCAL, check_address

__all__ = ["Ray", "RayCommand"]

Ray = Annotated[
    str | None,
    checked_option(
        "Run on Ray: on this machine, or on the cluster at HOST:PORT or that Ray finds (auto). All "
        "its machines must see the files.",
        "--ray",
        metavar="[ADDRESS]",
        checks=[check_address],
    ),
]


class RayCommand(SectionedCommand):
    """A command whose option `--ray` takes an address or none, which typer itself cannot have."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words of the command; `--ray` alone means this machine."""
        return super().parse_args(ctx, _with_address(args))


def _with_address(words: list[str]) -> list[str]:
    """The words with an address in each `--ray` that no address follows.

    Example:
        >>> _with_address(["--ray", "--json", "--ray", "host:6379", "--ray", "runs/chip"])
        ['--ray=local', '--json', '--ray', 'host:6379', '--ray=local', 'runs/chip']
    """
    return [
        f"--ray={LOCAL}" if word == "--ray" and not _is_address(following) else word
        for word, following in pairwise([*words, ""])
    ]


def _is_address(word: str) -> bool:
    # With a mistake in it, it is still no path.
    return word in (FOUND, LOCAL) or ":" in word
