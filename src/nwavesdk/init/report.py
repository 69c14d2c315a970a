"""What an initialization did, layer by layer, to read and to print."""

from dataclasses import dataclass

__all__ = ["FluctReport", "LayerFluctuation"]


@dataclass(frozen=True)
class LayerFluctuation:
    """One layer after `fluct_init`.

    Attributes:
        synapse: name of the synapse in the model.
        layer: name of the neuron layer in the model.
        xi: the distance of the membrane from threshold that was asked for [standard deviations of the membrane].
        xi_measured: that distance in the end, measured on the layer with its threshold out of reach.
        mean: of the feed-forward weights.
        std: of the feed-forward weights.
        rate: of the layer [spikes per step and neuron].
        dead: share of neurons that never fired.
        raised: share of neurons, dead before, whose mean weight the search has raised.
        at_limit: share of feed-forward weights that are cut off at the chip's limit.
        passes: how often the layer ran in the search.
    """

    synapse: str
    layer: str
    xi: float
    xi_measured: float
    mean: float
    std: float
    rate: float
    dead: float
    raised: float
    at_limit: float
    passes: int


_COLUMNS = {
    "xi": "{:.2f}", "xi_measured": "{:.2f}", "mean": "{:+.3f}", "std": "{:.3f}", "rate": "{:.4f}", "dead": "{:.1%}",
    "raised": "{:.1%}", "at_limit": "{:.1%}", "passes": "{}",
}  # fmt: skip


@dataclass(frozen=True)
class FluctReport:
    """What `fluct_init` did; `print` shows a table.

    Attributes:
        layers: one entry for each initialized layer, in the order in which they run.
    """

    layers: tuple[LayerFluctuation, ...]

    @property
    def dead(self) -> float:
        """The largest share of dead neurons of a layer."""
        return max(layer.dead for layer in self.layers)

    def __str__(self) -> str:
        rows = [["layer", *_COLUMNS]]
        for layer in self.layers:
            told = [form.format(getattr(layer, name)) for name, form in _COLUMNS.items()]
            rows.append([f"{layer.synapse} → {layer.layer}", *told])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
