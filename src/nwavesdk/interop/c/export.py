"""`export_c`: a quantized net as a folder of C, with a self-test and a table of its costs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from nwavesdk.data import Frames, Standard
from nwavesdk.internal.checks import shown
from nwavesdk.internal.files import write_atomically
from nwavesdk.interop.c.costs import ProgramCosts, costs_of
from nwavesdk.interop.c.folder_texts import folder_texts
from nwavesdk.interop.c.net_text import NetText
from nwavesdk.interop.c.self_test import self_test
from nwavesdk.interop.c.walk import integer_net
from nwavesdk.net import RoundedInput, SpikingSequential
from nwavesdk.net.recording import record_spikes

__all__ = ["CExport", "costs_in_c", "export_c"]

MAX_RECORDINGS, MAX_STEPS = 3, 200  # of the self-test


@dataclass(frozen=True, kw_only=True)
class CExport(ProgramCosts):
    """An exported net, with its costs.

    Attributes:
        files: The text of each file, by its name.

    Example:
        >>> import tempfile
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse
        >>> from nwavesdk.net import quantize
        >>> net = SpikingSequential(LIFSynapse(3, 8), LIFLayer(8, taus=10e-3))
        >>> x = torch.randn(4, 50, 3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export = export_c(quantize(net, x), folder, x)
        >>> export.ram, sorted(export.files)[:3]
        (40, ['CMakeLists.txt', 'README.md', 'example.c'])
    """

    files: dict[str, str]


@torch.no_grad()
def costs_in_c(
    net: SpikingSequential, x: Tensor, *, lengths: Tensor | None = None, hold: int = 1
) -> ProgramCosts:
    """The costs of a quantized net as C, without the C; see `export_c`.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse
        >>> from nwavesdk.net import quantize
        >>> net = SpikingSequential(LIFSynapse(3, 8), LIFLayer(8, taus=10e-3))
        >>> x = torch.randn(4, 50, 3)
        >>> costs_in_c(quantize(net, x), x).ram
        40
    """
    return costs_of(_text_of(net, x, "net"), _rates(net, x, lengths), hold)


@torch.no_grad()
def export_c(
    net: SpikingSequential,
    folder: Path | str,
    x: Tensor,
    *,
    lengths: Tensor | None = None,
    name: str = "net",
    classes: Sequence[str] = (),
    hold: int = 1,
    notes: Sequence[str] = (),
    decision: str = "",
    standard: Standard | None = None,
    rows: Frames | None = None,
) -> CExport:
    """Write a quantized net as C99 whose outputs, membranes and spikes have the bits of `net(x)`.

    The folder gets `NAME.h`, `NAME.c`, the runtime `nwave_rt.h`, `selftest.c`, `example.c`,
    `CMakeLists.txt` and `README.md`.

    Args:
        net: A net from `quantize`, in `eval()`.
        folder: The folder; it is made if it does not exist.
        x: Example inputs [B, T, *features], such as recordings of the validation set. The self-test
            runs the first three of them, and the costs are measured with all.
        lengths: Number of steps of each recording, int64 [B]; None if all have T.
        name: Prefix of the functions, a word of C.
        classes: Names of the classes, if the class with the largest sum of outputs is the result.
        hold: Steps of the net for each frame.
        notes: Further lines of the README, such as how frames are made.
        decision: The text of `NAME_decision.h`, if `example.c` prints the detections of a detector;
            see `nwavesdk.interop.c.decision_text`.
        standard: The scale that `NAME_scale` applies to a row of values; None if rows are on the
            scale of `x`.
        rows: Rows of a recording before this scale [L, F], which become `frames.txt`; None for the
            first recording of `x`.

    Raises:
        ValueError: If the net has no form in C, or is not quantized; the text names the module.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse
        >>> from nwavesdk.net import quantize
        >>> net = SpikingSequential(LIFSynapse(3, 8), LIFLayer(8, taus=10e-3))
        >>> x = torch.randn(4, 50, 3)
        >>> export = export_c(quantize(net, x), "build", x)  # doctest: +SKIP
        >>> print(export)  # doctest: +SKIP
    """
    text = _text_of(net, x, name, standard)
    costs = costs_of(text, _rates(net, x, lengths), hold)

    ends = [x.shape[1]] * len(x) if lengths is None else lengths.tolist()
    recordings = [net[0](r[: min(end, MAX_STEPS)]) for r, end in zip(x, ends, strict=True)]
    if rows is None:
        rows = x[0, : ends[0] : hold].flatten(1).numpy()
    lines = [" ".join(map("{:.9g}".format, row)) for row in rows[: -(-MAX_STEPS // hold)].tolist()]
    files = {
        f"{name}.h": text.header(),
        f"{name}.c": text.source(),
        "nwave_rt.h": (resources.files(__package__) / "nwave_rt.h").read_text(encoding="utf-8"),
        "selftest.c": self_test(net, text, recordings[:MAX_RECORDINGS]),
        "frames.txt": "".join(f"{line}\n" for line in lines),
        **folder_texts(
            text,
            table=str(costs),
            classes=classes,
            hold=hold,
            notes=notes,
            detects=bool(decision),
            is_scaled=standard is not None,
        ),
    }
    if decision:
        files[f"{name}_decision.h"] = decision

    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        write_atomically(path / file, content.encode())
    return CExport(files=files, **vars(costs))


def _text_of(
    net: SpikingSequential, x: Tensor, name: str, standard: Standard | None = None
) -> NetText:
    """The net in C, after a check of the arguments of `export_c`."""
    _check(net, x, name)
    rounded = net[0]
    assert isinstance(rounded, RoundedInput)
    return NetText(integer_net(net, x.shape[2:], rounded.step), name, standard)


def _rates(net: SpikingSequential, x: Tensor, lengths: Tensor | None) -> dict[str, float]:
    """Spikes per neuron and step of each layer, by its name."""
    rates = record_spikes(net, x, lengths).rates()
    return {name: float(rate.mean()) for name, rate in rates.items()}


def _check(net: object, x: Tensor, name: str) -> None:
    if not isinstance(net, SpikingSequential) or not isinstance(
        next(iter(net), None), RoundedInput
    ):
        raise ValueError(
            f"export_c: {type(net).__name__} does not begin with RoundedInput, expected a "
            "quantized net: pass quantize(net, x)."
        )

    if net.training:
        raise ValueError("export_c: the net is in train(), expected eval(): call net.eval().")
    if x.ndim < 3 or not len(x):
        raise ValueError(
            f"export_c: x must be recordings [B, T, *features], got the shape {list(x.shape)}: add "
            "the missing dimensions."
        )

    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise ValueError(
            f"export_c: name must be a word of small letters, digits and _, got {shown(name)}: "
            "choose a prefix such as 'words'."
        )
