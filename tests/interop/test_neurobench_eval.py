"""The harness of NeuroBench on a set, against our own counts."""

import numpy as np
import pytest

from nwavesdk.interop.neurobench_eval import _batches_of, measure_net
from nwavesdk.metrics import count_operations
from nwavesdk.net import find_edges
from nwavesdk.train import Run, RunConfig
from nwavesdk.train.fit.evaluation import evaluate_net
from train.runs import chip_choices, small_choices

pytestmark = pytest.mark.interop


def own_counts(net, series):
    """Our numbers for the batches of the harness, and their means over recordings."""
    indices = np.arange(len(series))
    counts = [count_operations(net, x) for x, _ in _batches_of(series, indices)]
    recordings = [count.recordings for count in counts]
    weights = [edge.stored_weight() for edge in find_edges(net).edges]
    tensors = [*net.parameters(), *net.buffers()]

    def mean(name):
        return np.average([getattr(count, name) for count in counts], weights=recordings)

    return {
        "Footprint": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        "ParameterCount": counts[0].parameters,
        "ConnectionSparsity": np.mean(
            [float(w == 0) for weight in weights for w in weight.flatten()]
        ),
        "ActivationSparsity": mean("activation_sparsity"),
        "SynapticOperations.Effective_MACs": mean("effective_macs"),
        "SynapticOperations.Effective_ACs": mean("effective_acs"),
        "SynapticOperations.Dense": mean("dense"),
        "MembraneUpdates": mean("updates"),
    }


@pytest.mark.parametrize("choices", [small_choices, chip_choices])
def test_recordings_of_all_lengths_are_equal_to_our_counts(choices, tones, tmp_path):
    pytest.importorskip("lightning")
    run = Run.new(tmp_path / "run", RunConfig.of(choices(tones)))
    series, net = run.data.train, run.network()
    found = measure_net(net, series, run.task)
    assert found.recordings == len(series)
    assert not found.not_counted

    numbers = dict(found.numbers)
    measures = evaluate_net(net, run.task, series, 32).measures
    assert numbers.pop("ClassificationAccuracy") == pytest.approx(measures["accuracy"], abs=1e-6)
    ours = own_counts(net, series)
    # The harness counts the steps in which a membrane changed, and we count all.
    assert 0 < numbers.pop("MembraneUpdates") <= ours.pop("MembraneUpdates")
    # The harness rounds to four digits.
    sparsity = numbers.pop("ConnectionSparsity")
    assert sparsity == pytest.approx(ours.pop("ConnectionSparsity"), abs=5e-5)
    assert (sparsity > 0) == (choices is chip_choices)  # 5 bits round some weights to 0
    assert numbers == pytest.approx(ours, rel=1e-9)
    assert 0 < numbers["ActivationSparsity"] < 1
    if choices is small_choices:
        assert len(set(series.lengths.tolist())) > 2
        # 12 bands, 24 neurons, 3 classes with a population of 3, at each step.
        steps = np.mean(series.lengths)
        assert numbers["SynapticOperations.Dense"] == pytest.approx((12 * 24 + 24 * 9) * steps)
