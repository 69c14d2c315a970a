"""What the report of a run shows first: against what, how sparse, and what confuses the net."""

from collections.abc import Sequence

import numpy as np

from nwavesdk.layers import find_edges
from nwavesdk.train.report.page import Card
from nwavesdk.train.report.task_reports import FinishedRun, Table

__all__ = ["summary_cards", "summary_tables"]

# Pairs of classes in the summary, rows of the table of pairs, and recordings named in a row.
MOST_PAIRS_SHOWN = 3
MOST_PAIRS = 20
MOST_NAMED = 4

# What a linear model gets of a recording, by task.
LINEAR_INPUTS = {
    "classification": "mean and deviation over time of each feature",
    "labels": "the features of the step",
    "regression": "the features of the step",
    "pattern": "the features of the step",
}


def summary_cards(run: FinishedRun) -> list[Card]:
    """The cards at the top of the page; those of what is unknown are missing."""
    cards = [_comparison(run), _sparsity(run), _confusions(run)]
    return [card for card in cards if card is not None]


def summary_tables(run: FinishedRun) -> list[Table]:
    """Accuracies by class, confused pairs, layers, and operations."""
    tables = [_layer_table(run), *_operation_tables(run)]
    return [*_class_tables(run), *tables] if run.facts.classes else tables


def _comparison(run: FinishedRun) -> Card | None:
    result = run.result
    inputs = LINEAR_INPUTS[run.task.name]
    if "linear_accuracy" in result:
        gain = 100 * (run.evaluation.measures["accuracy"] - result["linear_accuracy"])
        return Card(
            "Against a linear classifier",
            _signed(f"{gain:+.1f} points"),
            f"It has {_percent(result['linear_accuracy'])}, from {inputs}. The largest class alone "
            f"has {_percent(result['majority_accuracy'])}.",
        )
    if "linear_r2" in result:
        gain = run.evaluation.measures["r2"] - result["linear_r2"]
        text = f"It has an R² of {result['linear_r2']:.3f}, from {inputs}."
        return Card("Against a linear model", _signed(f"{gain:+.3f}"), _signed(text))
    return None


def _sparsity(run: FinishedRun) -> Card | None:
    result, operations = run.result, run.operations
    if operations is None:
        return None
    synaptic, dense = operations.synaptic, operations.dense
    cost = (
        f"{_amount(synaptic)} synaptic operations per recording "
        f"({_amount(operations.effective_macs)} MACs, {_amount(operations.effective_acs)} ACs), "
        f"{_percent(_share(synaptic, dense))} of {_amount(dense)} dense MACs."
    )
    if operations.not_counted:
        cost += f" Not counted: {', '.join(operations.not_counted)}."
    if "hidden_rate" not in result:
        return Card("How sparse", _amount(synaptic), cost)
    n_hidden = len(result["rates"]) - (not run.task.output.is_readout)
    by_layer = " / ".join(f"{100 * rate:.1f}" for rate in result["rates"][:n_hidden])
    bound = run.config.learning.most_spikes
    goal = "" if bound is None else f", bounded at {_percent(bound)} in training"
    text = f"is how often a hidden neuron fires in a step (by layer {by_layer} %{goal}). {cost}"
    return Card("How sparse", _percent(result["hidden_rate"]), text)


def _confusions(run: FinishedRun) -> Card | None:
    if not run.facts.classes:
        return None
    pairs = _confused_pairs(run)
    n_errors = sum(count for _, _, count in pairs)
    if not pairs:
        return Card("What confuses it", "nothing", f"No errors on the {run.part} set.")
    classes = run.facts.classes
    true, predicted, count = pairs[0]
    text = f"{count:,} of {n_errors:,} errors." if n_errors > 1 else "It is the only error."
    if more := pairs[1:MOST_PAIRS_SHOWN]:
        listed = ", ".join(f"{classes[t]} for {classes[p]} ({n:,})" for t, p, n in more)
        text += f" Next: {listed}."
    return Card("What confuses it", f"{classes[true]} taken for {classes[predicted]}", text)


def _confused_pairs(run: FinishedRun) -> list[tuple[int, int, int]]:
    """True class, predicted class and count, the most frequent first."""
    counts = run.evaluation.tally.numpy().copy()
    np.fill_diagonal(counts, 0)
    pairs = [(int(t), int(p), int(counts[t, p])) for t, p in np.argwhere(counts > 0)]
    return sorted(pairs, key=lambda pair: -pair[2])


def _class_tables(run: FinishedRun) -> list[Table]:
    classes, counts = run.facts.classes, run.evaluation.tally.numpy()
    pairs = _confused_pairs(run)
    rows: list[Sequence[str | int | float]] = []
    for label, row in enumerate(counts):
        total = int(row.sum())
        taken = next((classes[p] for t, p, _ in pairs if t == label), "–")
        share = row[label] / total if total else float("nan")
        rows.append((classes[label], float(share), total, taken))
    decisions = "recordings" if run.task.name == "classification" else "steps"
    by_class = (
        "Accuracy by class",
        f"Share of each class of the {run.part} set that is right, the lowest first.",
        ("class", "accuracy", decisions, "most often taken for"),
        sorted(rows, key=lambda row: (row[1] != row[1], row[1])),
    )
    if not pairs:
        return [by_class]
    names = [_recordings_of(run, true, predicted) for true, predicted, _ in pairs[:MOST_PAIRS]]
    has_names = any(names)
    confused: list[Sequence[str | int | float]] = [
        (classes[t], classes[p], n, *([text] if has_names else []))
        for (t, p, n), text in zip(pairs, names, strict=False)
    ]
    columns = ("class", "taken for", decisions, *(["such as"] if has_names else []))
    return [
        by_class,
        ("Most confused classes", f"Errors on the {run.part} set.", columns, confused),
    ]


def _recordings_of(run: FinishedRun, true: int, predicted: int) -> str:
    """Names of some recordings of one class that were taken for another one."""
    if run.task.name != "classification":
        return ""
    evaluation, keys = run.evaluation, run.evaluated.recordings.keys
    is_pair = (evaluation.targets == true) & (evaluation.predicted == predicted)
    places = is_pair.nonzero().flatten().tolist()
    text = ", ".join(keys[place] for place in places[:MOST_NAMED])
    return f"{text}, …" if len(places) > MOST_NAMED else text


def _layer_table(run: FinishedRun) -> Table:
    result = run.result
    values = (result["rates"], result["dead"], result["saturated"])
    bound = run.config.learning.most_spikes
    text = f"Of layers that spike, on the {run.part} set: spikes per step and neuron, and shares."
    if bound is not None:
        text += f" Training bounds the rate of hidden layers at {bound:g}."
    rows = [list(row) for row in zip(run.layer_titles, *values, strict=True)]
    columns = ("layer", "rate", "never fire", "fire nearly always")
    return "Layers", text, columns, rows


def _operation_tables(run: FinishedRun) -> list[Table]:
    operations = run.operations
    if operations is None:
        return []
    titles = _edge_titles(run)
    rows = [
        (
            titles.get(edge.name, edge.name.removeprefix("net.")),
            "spikes (ACs)" if edge.takes_spikes else "values (MACs)",
            round(edge.dense),
            round(edge.effective),
            _share(edge.effective, edge.dense),
            edge.connection_sparsity,
        )
        for edge in operations.edges
    ]
    count = operations.recordings
    text = (
        f"Operations per recording, counted on {count:,} recording{'s' * (count != 1)} of the "
        f"{run.part} set with {operations.steps:.0f} steps on average. Effective ones have an "
        "input and a weight that are not 0 (definitions of NeuroBench). Neurons are updated "
        f"{operations.updates:,.0f} times."
    )
    if operations.not_counted:
        text += f" Not counted: {', '.join(operations.not_counted)}."
    columns = ("weight", "inputs", "dense", "effective", "share", "missing connections")
    return [("Operations", text, columns, rows)]


def _edge_titles(run: FinishedRun) -> dict[str, str]:
    """For a chip, the layer that each weight drives and the weight's name; empty for other nets."""
    net = find_edges(run.net)
    if run.config.chip is None or len(net.layers) != len(run.layer_titles):
        return {}
    roles = dict(zip(net.layers, run.layer_titles, strict=True))
    return {
        edge.name: f"{roles[edge.target_name]}: {edge.name.removeprefix('net.')}"
        for edge in net.edges
        if edge.target_name is not None
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _signed(text: str) -> str:
    return text.replace("-", "−")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _amount(count: float) -> str:
    """A large number with three digits.

    Example:
        >>> _amount(5_557_808.0), _amount(950)
        ('5.56 million', '950')
    """
    for size, name in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if count >= size:
            return f"{count / size:.3g} {name}"
    return f"{count:.3g}"
