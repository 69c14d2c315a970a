"""R², MSE and correlation, compared with torchmetrics and with closed forms."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nwavesdk.metrics import correlation, mse, r2
from nwavesdk.metrics.values import correlation_of, mse_of, r2_of, value_sums

torchmetrics = pytest.importorskip("torchmetrics.functional.regression")

MEASURES = (mse, r2, correlation)


def values_of(seed: int, B: int = 3, T: int = 20, D: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(B, T, D, generator=generator)
    return 0.7 * target + 0.5 * torch.randn(B, T, D, generator=generator) + 0.2, target


def test_measures_equal_those_of_torchmetrics() -> None:
    prediction, target = values_of(0)
    p, y = prediction.flatten(0, 1), target.flatten(0, 1)
    expected = torchmetrics.r2_score(p, y, multioutput="raw_values")
    torch.testing.assert_close(r2(prediction, target), expected)
    torch.testing.assert_close(correlation(prediction, target), torchmetrics.pearson_corrcoef(p, y))
    error = torchmetrics.mean_squared_error(p, y, num_outputs=2)
    torch.testing.assert_close(mse(prediction, target), error)


@pytest.mark.parametrize("measure", MEASURES)
def test_padding_changes_nothing(measure: Callable[..., Tensor]) -> None:
    prediction, target = values_of(1)
    lengths = torch.tensor([20, 3, 11])
    padded = [torch.cat([values, torch.zeros(3, 9, 2)], 1) for values in (prediction, target)]
    for row, length in enumerate(lengths.tolist()):
        padded[0][row, length:] = torch.nan
        padded[1][row, length:] = 1e9
    expected = measure(prediction, target, lengths)
    assert torch.equal(measure(*padded, lengths), expected)
    assert not torch.allclose(expected, measure(prediction, target))


def test_sums_of_batches_give_the_measures_of_all() -> None:
    prediction, target = values_of(2, B=7)
    sums = sum(value_sums(prediction[i : i + 2], target[i : i + 2]) for i in range(0, 7, 2))
    assert isinstance(sums, Tensor)
    for measure, of_sums in zip(MEASURES, (mse_of, r2_of, correlation_of), strict=True):
        torch.testing.assert_close(of_sums(sums).float(), measure(prediction, target))


def test_a_constant_has_no_spread() -> None:
    constant = torch.full((1, 5, 1), 0.1)
    ramp = torch.arange(5.0).reshape(1, 5, 1)
    assert r2(constant, constant).item() == 1
    assert r2(ramp, constant).item() == 0
    assert correlation(constant, ramp).item() == correlation(ramp, constant).item() == 0


def test_a_large_offset_costs_no_digits() -> None:
    prediction, target = (values.double() for values in values_of(3))
    shifted = r2(prediction + 1e7, target + 1e7)
    torch.testing.assert_close(shifted, r2(prediction, target), rtol=1e-5, atol=0)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda measure: measure(torch.rand(2, 5, 1), torch.rand(2, 5, 2)),
            r".* expected the same",
        ),
        (
            lambda measure: measure(torch.rand(2, 5), torch.rand(2, 5)),
            r"predictions have .* expected \[B, T, D\]",
        ),
        (
            lambda measure: measure(torch.rand(2, 0, 1), torch.rand(2, 0, 1)),
            r"got no step",
        ),
    ],
)
def test_shapes_must_be_those_of_values(
    measure: Callable[..., Tensor], call: Callable[..., object], words: str
) -> None:
    with pytest.raises(ValueError, match=f"{measure.__name__}: {words}"):
        call(measure)
