"""A series of chips gives the same results as a loop over chips."""

import numpy as np
import pytest
import torch

from deploy.nets import chip_net, sound
from layers.nets import run
from nwavesdk.deploy import ChipSeries, chip_series, draw_series
from nwavesdk.deploy.chip_series import count_right
from nwavesdk.layers import ChipInstance, Dropout, SpikingSequential, prepare_net
from nwavesdk.metrics import accuracy_population
from nwavesdk.train.fit.seeds import chip_seed


@torch.no_grad()
def one_by_one(net, x, labels, classes, seeds):
    counts = []
    for seed in seeds:
        prepare_net(net, seed=seed)
        counts.append(round(accuracy_population(net(x)[0], labels, classes).item() * len(x)))
    return counts


def recordings(count, T=60):
    """Recordings with sound in some channels only, so that nets can distinguish them."""
    return sound(count, T, 16) * 3 * (torch.rand(count, 1, 16) < 0.4)


def make_undecided(net):
    """Put the output neurons near their thresholds, so that predictions differ between chips."""
    net[-2].weight.data *= 0.3
    return net


NETS = {
    "h1v1": lambda: chip_net("h1v1", mismatch=True),
    "h1v2": lambda: chip_net("h1v2", mismatch=True),
    "h1v2 without mismatch": lambda: chip_net("h1v2"),
    "h1v1 recurrent": lambda: chip_net("h1v1", sizes=(12, 20), mismatch=True, recurrent=(0,)),
    "h1v2 recurrent": lambda: chip_net("h1v2", sizes=(12, 20), mismatch=True, recurrent=(0,)),
    "no front end": lambda: chip_net("h1v1", mismatch=True, frontend=False),
    "one layer": lambda: chip_net("h1v1", sizes=(20,), mismatch=True, frontend=False),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("most", [1 << 26, 7 * 60 * 50], ids=["together", "in parts"])
def test_chips_have_the_results_of_a_loop(name, most, monkeypatch):
    monkeypatch.setattr(chip_series, "MAX_VALUES", most)
    net = make_undecided(NETS[name]()).double()
    x, labels, seeds = recordings(40).double(), torch.arange(40) % 4, list(range(9))
    expected = one_by_one(net, x, labels, 4, seeds)
    assert count_right(net, x, labels, 4, seeds).tolist() == expected
    assert len(set(expected)) > (1 if "without" not in name else 0)  # the chips differ


def test_padding_is_not_counted():
    net = make_undecided(NETS["no front end"]()).double()
    x, labels, seeds = recordings(12).double(), torch.arange(12) % 4, list(range(5))
    lengths = torch.arange(12) * 3 + 1
    expected = torch.zeros(5, dtype=torch.int64)
    for b, n in enumerate(lengths):
        expected += count_right(net, x[b : b + 1, :n], labels[b : b + 1], 4, seeds)
    assert torch.equal(count_right(net, x, labels, 4, seeds, lengths), expected)
    assert not torch.equal(count_right(net, x, labels, 4, seeds), expected)
    designed = draw_series(net, x, labels, 4, n=1, lengths=lengths).designed
    with ChipInstance(None).on(net), torch.no_grad():
        assert designed == accuracy_population(run(net, x)[0], labels, 4, lengths).double()
    with pytest.raises(ValueError, match="count_right: lengths must be from 1 to the"):
        draw_series(net, x, labels, 4, n=1, lengths=lengths - 1)


def test_dropout_does_nothing():
    net = chip_net("h1v2", mismatch=True)
    x, labels = recordings(10), torch.arange(10) % 4
    with_dropout = [m for module in net for m in (module, Dropout(0.5))][:-1]
    expected = draw_series(net, x, labels, 4, n=3).designed
    other = SpikingSequential(*with_dropout).eval()
    assert draw_series(other, x, labels, 4, n=3).designed == expected


@pytest.fixture(scope="module")
def drawn():
    torch.manual_seed(1)
    net = make_undecided(chip_net("h1v1", mismatch=True))
    x, labels = recordings(40), torch.arange(40) % 2
    return net, x, labels, draw_series(net, x, labels, 2, n=25, seed=3, wanted=0.5)


class TestDrawing:
    def test_the_same_seed_gives_the_same_list_and_another_another(self, drawn):
        net, x, labels, series = drawn
        assert draw_series(net, x, labels, 2, n=25, seed=3).accuracy == series.accuracy
        assert draw_series(net, x, labels, 2, n=25, seed=4).accuracy != series.accuracy
        assert draw_series(net, x, labels, 2, n=5, seed=3).accuracy == series.accuracy[:5]

    def test_quantiles_and_yield(self, drawn):
        series = drawn[3]
        assert (series.quantile(0.05), series.quantile(0.5), series.quantile(0.95)) == tuple(
            np.quantile(series.accuracy, [0.05, 0.5, 0.95])
        )
        assert series.share == np.mean(np.array(series.accuracy) >= 0.5)
        assert "25 chips in" in str(series)
        assert "yield" in str(series)

    def test_the_change_is_that_against_the_designed_net(self):
        accuracy = (0.875, 0.9375, 0.9375, 0.9375)
        series = ChipSeries(
            accuracy=accuracy, designed=0.90625, wanted=0.9, seed=0, seconds=0.1, recordings=32
        )
        worst = 100 * (series.quantile(0.05) - 0.90625)
        assert (
            f"mismatch changes the median by +3.1 points, the 5 % quantile by −{-worst:.1f} (one "
            "of 32 recordings is 3.1 points)"
        ) in str(series)

    def test_designed_is_the_chip_without_mismatch(self, drawn):
        net, x, labels, series = drawn
        clean = chip_net("h1v1")
        clean.load_state_dict(net.state_dict())
        assert series.designed == pytest.approx(
            accuracy_population(run(clean, x)[0], labels, 2).item(), rel=1e-6
        )

    def test_the_net_does_not_change(self, drawn):
        net, x, labels, _ = drawn
        net.train()
        draw_series(net, x, labels, 2, n=2)
        assert net.training
        assert all(module.chip_noise is None for module in net)

    def test_no_drawn_chip_is_one_of_training(self):
        trained = {
            chip_seed(seed, use, epoch, batch, drawn=False)
            for seed in range(10)
            for use in ("mismatch", "validation")
            for epoch in range(10)
            for batch in range(9)
        }
        assert not trained & {
            chip_seed(seed, "chips", i, drawn=True) for seed in range(20) for i in range(200)
        }

    def test_missing_labels_and_chips_are_refused(self, drawn):
        net, x, labels, _ = drawn
        net.train()
        with pytest.raises(
            ValueError,
            match=r"got 1 chips, x of shape \[40, 60, 16\] and 39 labels",
        ):
            draw_series(net, x, labels[:39], 2, n=2)
        with pytest.raises(ValueError, match="got 0 chips, x of shape"):
            count_right(net, x, labels, 2, [])
        assert net.training

    @pytest.mark.parametrize(
        ("option", "words"),
        [
            ({"n": 0}, "n must be a whole number from 1 to 100000, got 0"),
            ({"n": 2**70}, "n must be a whole number from 1 to 100000, got 118"),
            ({"seed": -1}, "seed must be a whole number from 0 to 4294967295, got"),
            ({"seed": 2**70}, "seed must be a whole number from 0 to 4294967295, got"),
            (
                {"wanted": float("nan")},
                "wanted must be a finite number of at least 0 and of at most 1, got nan",
            ),
            ({"wanted": 90}, "wanted must be a finite number of at least 0 and of at most 1, got"),
        ],
    )
    def test_absurd_numbers_are_refused(self, drawn, option, words):
        net, x, labels, _ = drawn
        with pytest.raises(ValueError, match=words):
            draw_series(net, x, labels, 2, **option)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda x, y: (x[:, :0], y), r"x of shape \[40, 0, 16\] .* at least 1 chip and 1 step"),
            (lambda x, y: (x.to_sparse(), y), "x takes a dense tensor"),
            (lambda x, y: (x, y.float()), "labels are tensor.*, expected whole numbers"),
            (lambda x, y: (x, y + 1), "expected whole numbers .B. from 0 to 1"),
        ],
    )
    def test_recordings_and_labels_that_cannot_be_are_refused(self, drawn, change, words):
        net, x, labels, _ = drawn
        with pytest.raises((ValueError, TypeError), match=f"count_right: .*{words}"):
            draw_series(net, *change(x, labels), 2, n=2)

    def test_the_designed_accuracy_is_computed_like_the_others(self):
        x, labels = recordings(10), torch.arange(10) % 2
        series = draw_series(chip_net("h1v2"), x, labels, 2, n=1)
        assert series.accuracy == (series.designed,)

    def test_an_empty_set_of_recordings_is_refused(self, drawn):
        with pytest.raises(ValueError, match="got 0 recordings"):
            draw_series(drawn[0], sound(0, 60, 16), torch.zeros(0), 2)


def test_quantiles_and_yield_of_given_accuracies():
    series = ChipSeries(
        accuracy=(0.5, 0.9, 0.95, 1.0), designed=0.97, wanted=0.9, seed=0, seconds=1.0
    )
    assert series.share == 0.75
    assert series.quantile(0) == 0.5
