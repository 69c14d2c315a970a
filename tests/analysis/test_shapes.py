import json
import math

import pytest

from nwavesdk.analysis import catalogue_shapes
from nwavesdk.analysis.shapes import derivative_shape
from nwavesdk.surrogate import atan, available, fast_sigmoid, sigmoid


@pytest.mark.parametrize("slope", [0.1, 1.0, 25.0, 1000.0])
def test_against_closed_forms(slope: float) -> None:
    fast = derivative_shape(fast_sigmoid(slope))
    assert fast.peak == pytest.approx(1, rel=1e-6)
    assert fast.area == pytest.approx(2 / slope, rel=1e-5)
    assert fast.half_width == pytest.approx(2 * (math.sqrt(2) - 1) / slope, rel=1e-3)
    logistic = derivative_shape(sigmoid(slope))
    assert (logistic.peak, logistic.area) == pytest.approx((slope / 4, 1), rel=1e-5)
    arc = derivative_shape(atan(slope))
    assert (arc.peak, arc.area) == pytest.approx((slope / 2, 1), rel=1e-5)
    assert arc.half_width == pytest.approx(2 / (math.pi / 2 * slope), rel=1e-3)


def test_every_surrogate_has_a_row() -> None:
    rows = {row["name"]: row for row in catalogue_shapes()}
    assert {"atan", "fast_sigmoid", "sigmoid"} <= set(rows)
    assert rows["fast_sigmoid"]["defaults"] == {"slope": 25.0}
    assert all(row["formula"] for row in rows.values())
    assert rows.keys() == available().keys()
    json.dumps(list(rows.values()), allow_nan=False)


@pytest.mark.parametrize(
    ("name", "peak", "area", "half_width"),
    [
        ("triangle", 0.3, 0.3, 1.0),
        ("boxcar", 0.5, 1.0, 2.0),
        ("multi_gaussian", 0.8782, 0.85, 1.144),
        ("spike_rate_escape", 25.0, 50.0, 2 * math.log(2)),
        ("nonzero_sign_log_abs", 1.0, None, 2.0),
        ("straight_through", 1.0, None, None),
        ("leaky_k_relu", 1.0, None, None),
        ("squarewave_fourier_series", 0.5, None, 8 / 3),
    ],
)
def test_shapes_without_end_have_none(
    name: str, peak: float, area: float | None, half_width: float | None
) -> None:
    shape = derivative_shape(available()[name]())
    assert shape.peak == pytest.approx(peak, rel=1e-3)
    assert shape.area == (None if area is None else pytest.approx(area, rel=1e-4))
    assert shape.half_width == (None if half_width is None else pytest.approx(half_width, rel=2e-3))
