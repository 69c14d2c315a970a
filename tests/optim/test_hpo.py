"""The names of the search under NWAVE's path: lazy, and from `nwavesdk.analysis.hpo`."""

import pytest

from nwavesdk.optim import hpo


def test_the_names_are_those_of_the_search() -> None:
    pytest.importorskip("lightning")
    from nwavesdk.analysis import hpo as implementation

    for name in hpo.__all__:
        assert getattr(hpo, name) is getattr(implementation, name)
    with pytest.raises(AttributeError, match="did you mean 'HPOWrapper'"):
        _ = hpo.HPOWraper
