"""`RoundedInput`, and the steps of grids."""

import pytest
import torch

from nwavesdk.net import RoundedInput
from nwavesdk.net.rounded_input import best_steps, round_to_grid


def test_inputs_are_rounded_half_to_even_and_saturate():
    x = torch.tensor([0.25, 0.75, -0.25, 0.26, 63.4, 1e30, -1e30])
    rounded = RoundedInput(0.5)
    assert rounded(x).tolist() == [0.0, 1.0, 0.0, 0.5, 63.5, 63.5, -63.5]
    assert RoundedInput(1.0, bits=4)(x)[-2:].tolist() == [7.0, -7.0]
    x.requires_grad_()
    y = rounded(x)
    y.sum().backward()
    assert y.tolist() == rounded(x.detach()).tolist()  # the gradient changes no bit
    assert x.grad.tolist() == [1.0] * 7
    other = RoundedInput(1.0)
    other.load_state_dict(rounded.state_dict())
    assert other.step == 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0.3,), "step must be a power of two, got 0.3: pass 0.25, for example"),
        ((-1.0,), "step must be a finite number above 0"),
        ((1.0, 9), "bits must be a whole number from 2 to 8, got 9"),
    ],
)
def test_wrong_steps_and_bits_are_rejected(arguments, words):
    with pytest.raises(ValueError, match=words):
        RoundedInput(*arguments)


def test_the_best_step_has_the_smallest_error_of_all_powers_of_two():
    columns = torch.randn(50, 20).double() * 3
    columns[0] *= 4  # saturating a single large value is better
    power = torch.rand(50).double()
    for largest in (7, 127):
        steps = best_steps(columns, largest, power)

        def error(steps, largest=largest):
            difference = columns - round_to_grid(columns, steps, largest)
            return (difference.square() * power[:, None]).sum(0)

        for exponent in range(-14, 8):
            assert bool((error(steps) <= error(torch.tensor(2.0**exponent)) + 1e-12).all())
    assert best_steps(torch.tensor([[0.0, 3.0], [0.0, -1.0]]), 127).tolist() == [1.0, 1.0]
