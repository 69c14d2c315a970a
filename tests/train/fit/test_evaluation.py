"""The rates of an evaluation, against a loop over recordings."""

import pytest
import torch

from nwavesdk.train.fit.evaluation import _mean_spikes


@pytest.mark.parametrize("features", [(5,), (3, 2, 4)])
@pytest.mark.parametrize("lengths", [None, [9, 1, 300]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_rates_are_those_of_valid_steps_of_each_recording(
    features: tuple[int, ...], lengths: list[int] | None, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(0)
    # More spikes than bfloat16 can count.
    spk = (torch.rand(3, 300, *features, generator=generator) < 0.95).to(dtype)
    ends = lengths or [300, 300, 300]
    valid = zip(spk, ends, strict=True)
    expected = sum(one[:end].double().mean(0).flatten() for one, end in valid)
    got = _mean_spikes(spk, None if lengths is None else torch.tensor(lengths))
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=0)
