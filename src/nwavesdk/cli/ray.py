"""The option `--ray` of commands that can run on a Ray cluster: its address may be left out."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any

from nwavesdk.cli.app import checked_option
from nwavesdk.cli.errors import UsageError
from nwavesdk.cli.help import SectionedCommand
from nwavesdk.internal.processes import FOUND, LOCAL, check_address

__all__ = ["Ray", "RayCommand", "ray_option"]


class RayCommand(SectionedCommand):
    """A command whose option `--ray` takes an address or none, which typer itself cannot have."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words of the command; `--ray` alone means this machine."""
        try:
            return super().parse_args(ctx, _with_address(args))
        except UsageError as error:
            # A word after --ray that is no address is an argument; one too many was meant as one.
            for word, address in pairwise(args):
                if word == "--ray" and f"({address})" in error.format_message():
                    _require_address(address)
            raise


def _require_address(address: str) -> None:
    """Reject what is no address, as an error of the option.

    Raises:
        ValueError: If it is none.
    """
    try:
        check_address(address)
    except ValueError as error:
        raise ValueError(f"--ray: {error} (or nothing, for this machine).") from None


def ray_option(excludes: Sequence[str] = ()) -> Any:
    """The option; `excludes` are as in `checked_option`."""
    return checked_option(
        "--ray",
        metavar="[ADDRESS]",
        help="Run on Ray: on this machine, or on the cluster at HOST:PORT or that Ray finds "
        "(auto). All its machines must see the files.",
        checks=[check_address],
        excludes=excludes,
    )


Ray = Annotated[str | None, ray_option()]


def _with_address(words: Sequence[str]) -> list[str]:
    """The words with an address after each `--ray` that has none.

    Example:
        >>> _with_address(["--ray", "--json", "--ray", "host:6379", "--ray", "runs/chip"])
        ['--ray=local', '--json', '--ray=host:6379', '--ray=local', 'runs/chip']
    """
    result: list[str] = []
    pending = list(words)
    while pending:
        word = pending.pop(0)
        if word == "--":
            return [*result, word, *pending]
        if word == "--ray":
            following = pending[0] if pending else ""
            is_address = following in (FOUND, LOCAL) or following.rpartition(":")[2].isdecimal()
            word = f"--ray={pending.pop(0) if is_address else LOCAL}"
        result.append(word)
    return result
