import math

import pytest

from nwavesdk.lab import catalogue_shapes, shape
from nwavesdk.surrogate import atan, fast_sigmoid, sigmoid


@pytest.mark.parametrize("slope", [0.1, 1.0, 25.0, 1000.0])
def test_against_closed_forms(slope: float) -> None:
    fast = shape(fast_sigmoid(slope))
    assert fast.peak == pytest.approx(1, rel=1e-6)
    assert fast.area == pytest.approx(2 / slope, rel=1e-5)
    assert fast.half_width == pytest.approx(2 * (math.sqrt(2) - 1) / slope, rel=1e-3)
    logistic = shape(sigmoid(slope))
    assert (logistic.peak, logistic.area) == pytest.approx((slope / 4, 1), rel=1e-5)
    arc = shape(atan(slope))
    assert (arc.peak, arc.area) == pytest.approx((slope / 2, 1), rel=1e-5)
    assert arc.half_width == pytest.approx(2 / (math.pi / 2 * slope), rel=1e-3)


def test_every_surrogate_has_a_row() -> None:
    rows = {row["name"]: row for row in catalogue_shapes()}
    assert {"atan", "fast_sigmoid", "sigmoid"} <= set(rows)
    assert rows["fast_sigmoid"]["defaults"] == {"slope": 25.0}
    assert all(row["formula"] for row in rows.values())
