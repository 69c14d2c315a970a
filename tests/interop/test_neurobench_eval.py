"""The harness of NeuroBench on a set, next to our own counts."""

import numpy as np
import pytest

from nwavesdk.interop import neurobench_eval
from nwavesdk.interop.neurobench_eval import Row, compare_counts
from nwavesdk.train import Run, RunConfig
from train.runs import small_choices

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def untrained(tones, tmp_path_factory):
    pytest.importorskip("lightning")
    return Run.new(tmp_path_factory.mktemp("run") / "run", RunConfig.of(small_choices(tones)))


def test_recordings_of_all_lengths_are_equal_to_our_counts(untrained):
    series = untrained.data.train
    assert len(set(series.lengths.tolist())) > 2
    net = untrained.network()
    found = compare_counts(net, series, untrained.task)
    assert found.recordings == len(series)
    differing = [row.name for row in found.rows if row.differs]
    assert differing in ([], ["MembraneUpdates"])
    by_name = {row.name: row.harness for row in found.rows}
    # Dense: 12 bands, 24 neurons, 3 classes with a population of 3, at each step.
    assert by_name["SynapticOperations.Dense"] == pytest.approx(
        (12 * 24 + 24 * 9) * np.mean(series.lengths)
    )
    assert 0 < by_name["ActivationSparsity"] < 1


def test_a_difference_is_seen(untrained, monkeypatch):
    count = neurobench_eval.count_operations

    def count_twice(net, x):
        found = count(net, x)
        return type(found)(**{**vars(found), "edges": found.edges * 2})

    monkeypatch.setattr(neurobench_eval, "count_operations", count_twice)
    found = compare_counts(untrained.network(), untrained.data.val, untrained.task)
    assert {row.name for row in found.rows if row.differs} >= {"SynapticOperations.Dense"}


def test_rounding_of_the_harness_is_no_difference():
    assert not Row("ConnectionSparsity", 0.1235, 0.12346).differs
    assert not Row("ClassificationAccuracy", 0.200000003, 0.2).differs
    assert Row("SynapticOperations.Dense", 10_000_001, 10_000_000).differs
