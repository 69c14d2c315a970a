import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nwavesdk.data import RecordingError
from nwavesdk.data.target import fit_target, read_target

PATH = Path("a.pt")


def saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool]
)
def test_tensors_of_any_real_dtype_are_read(dtype: torch.dtype) -> None:
    target = read_target(PATH, saved(torch.tensor([0, 1, 1]).to(dtype)))
    assert target.dtype == np.float32
    assert target.tolist() == [[0], [1], [1]]


def test_columns_are_read() -> None:
    assert read_target(PATH, saved(torch.arange(6.0).reshape(3, 2).requires_grad_())).tolist() == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]


class Evil:
    def __reduce__(self) -> Any:
        return print, ("executed",)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"a\.pt is empty \(0 bytes\): write it with torch\.save"),
        (b"not a tensor at all", "is not a tensor"),
        (saved(torch.zeros(9))[:200], "is not a tensor"),
        (saved(Evil()), r"is not a tensor \(UnpicklingError\)"),
        (saved({"y": torch.zeros(3)}), r"holds dict, expected a real tensor \(T,\) or \(T, C\)"),
        (saved(torch.zeros(2, 3, 4)), r"holds \[2, 3, 4\], expected"),
        (saved(torch.tensor(1.0)), r"holds \[\], expected"),
        (saved(torch.zeros(0)), r"holds \[0\], expected"),
        (saved(torch.zeros(3, dtype=torch.complex64)), "expected a real tensor"),
        (saved(torch.tensor([1.0, float("nan")])), "not finite"),
        (saved(torch.tensor([1e300], dtype=torch.float64)), "not finite"),
    ],
)
def test_what_is_not_a_target_is_rejected(
    data: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RecordingError, match=message):
        read_target(PATH, data)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("length", "recorded", "steps"),
    [(30, 30, 40), (29, 30, 40), (31, 30, 40), (40, 30, 40), (50, 50, 40)],
)
def test_targets_are_padded_or_cut_like_their_recording(
    length: int, recorded: int, steps: int
) -> None:
    values = 1 + np.arange(length, dtype=np.float32)[:, None]
    fitted = fit_target(PATH, values, recorded, steps)
    assert fitted.shape == (steps, 1)
    both = min(length, steps)
    assert (fitted[:both] == values[:both]).all()
    assert not fitted[both:].any()


@pytest.mark.parametrize("length", [28, 32, 39, 41])
def test_other_lengths_are_rejected_with_both_expected_ones(length: int) -> None:
    expected = r"expected 30 \(its recording\), plus or minus one, or 40 \(after padding\)"
    with pytest.raises(RecordingError, match=rf"a\.pt has {length} steps, {expected}"):
        fit_target(PATH, np.zeros((length, 1), np.float32), 30, 40)
