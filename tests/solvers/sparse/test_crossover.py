"""The crossover table depends on sizes alone, is chosen by file and reports its mistakes."""

from dataclasses import replace
from pathlib import Path

import pytest

from nwavesdk.solvers.sparse import crossover
from nwavesdk.solvers.sparse.crossover import (
    CrossoverTable,
    active_table,
    read_table,
    shipped_table,
    use_table,
    user_table_path,
)

FORWARD = ((0.0, 0.1), (0.2, 0.4))
GRADIENT = ((1.0, 0.5), (0.5, 0.25))
ZEROS = ((0.0, 0.0), (0.0, 0.0))
# Planes for 1 row and for 1,000.
TABLE = CrossoverTable(
    (1, 1000), (16, 64), (4, 64), (ZEROS, FORWARD), (ZEROS, ZEROS), (GRADIENT, GRADIENT), 1000
)
EARLIER = {
    "inputs": [16, 64],
    "outputs": [4, 64],
    "forward": FORWARD,
    "weight_gradient": GRADIENT,
    "min_work": 1000,
}


@pytest.fixture(autouse=True)
def _empty_settings(tmp_path, monkeypatch):
    """An empty folder of settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("NWAVESDK_CROSSOVER", raising=False)
    use_table(None)
    yield
    use_table(None)


@pytest.mark.parametrize(("n_in", "n_out", "forward", "gradient"), [
    (16, 64, 0.1, 0.5), (64, 4, 0.2, 0.5), (64, 64, 0.4, 0.25), (1, 4000, 0.1, 0.5),
    (4000, 1, 0.2, 0.5), (32, 64, 0.25, 0.375), (64, 16, 0.3, 0.375), (32, 16, 0.175, 0.5625),
])  # fmt: skip
def test_densities_between_sizes_are_interpolated_in_their_logarithms(
    n_in, n_out, forward, gradient
):
    rows = 1000
    limits = TABLE.limits(rows, n_in, n_out)
    assert limits == (
        pytest.approx(forward * rows * n_in, abs=1),
        -1,
        pytest.approx(gradient * rows * n_in, abs=1),
    )


@pytest.mark.parametrize(("rows", "share"), [
    (1, 0), (10, 1 / 3), (100, 2 / 3), (1000, 1), (10**6, 1),
])  # fmt: skip
def test_densities_between_numbers_of_rows_are_interpolated(rows, share):
    forward, with_graph, gradient = TABLE.densities(rows, 64, 64)
    assert forward == pytest.approx(0.4 * share)
    assert (with_graph, gradient) == (0, 0.25)


def test_a_density_of_zero_is_never_and_little_work_is_dense():
    assert TABLE.limits(1000, 16, 4) == (-1, -1, 16000)
    assert TABLE.limits(15, 16, 4) == (-1, -1, -1)
    assert TABLE.limits(16, 16, 4) == (-1, -1, 256)
    assert replace(TABLE, min_work=0).limits(0, 16, 64) == (-1, -1, -1)


def test_a_table_of_the_earlier_form_acts_as_before():
    """It had no rows, and one grid with and without a graph."""
    table = CrossoverTable.of(EARLIER, "here")
    for rows in (1, 15, 16, 64, 6400):
        for n_in, n_out in ((16, 64), (64, 64), (32, 16), (1, 4000)):
            forward, _, gradient = TABLE.densities(1000, n_in, n_out)
            expected = [int(d * rows * n_in) if d else -1 for d in (forward, forward, gradient)]
            if rows * n_in * n_out < 1000:
                expected = [-1, -1, -1]
            assert list(table.limits(rows, n_in, n_out)) == expected
    assert CrossoverTable.of(table.content(), "here") == table


@pytest.mark.parametrize(("change", "words"), [
    ({"inputs": (64, 16)}, r"inputs: expected numbers that rise \(got \(64, 16\)"),
    ({"outputs": (0, 4)}, "outputs.0: expected a number greater than 0"),
    ({"outputs": ()}, "outputs: expected at least 1 item"),
    ({"inputs": (1.5, 2)}, "inputs.0: expected a whole number"),
    ({"inputs": (True, 2)}, "inputs.0: expected a whole number"),
    ({"rows": (8, 1)}, r"rows: expected numbers that rise \(got \(8, 1\)"),
    ({"forward": (FORWARD,)}, r"forward must have 2 planes \(one for each of rows\) of 2 rows"),
    ({"forward": (FORWARD, FORWARD[:1])}, r"of 2 rows \(one for each of inputs\) of 2"),
    ({"forward_with_graph": (FORWARD, ((0.0,), (0.1,)))}, "of 2 densities"),
    ({"weight_gradient": (ZEROS, ((0.0, 0.1), (0.2, 1.5)))}, "weight_gradient.1.1.1: .*got 1.5"),
    ({"forward": (((0.0, float("nan")), (0.2, 0.5)), ZEROS)}, "forward.0.0.1: .*got nan"),
    ({"forward": (((0.0, "x"), (0.2, 0.5)), ZEROS)}, "forward.0.0.1: expected a number .got 'x'"),
    ({"min_work": -1}, "min_work: expected at least 0 .got -1"),
    ({"min_work": 1.5}, "min_work: expected a whole number"),
])  # fmt: skip
def test_a_bad_table_is_rejected(change, words):
    with pytest.raises(ValueError, match=words):
        CrossoverTable.of({**TABLE.content(), **change}, "here")
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(TABLE, **change)


def test_a_table_can_be_written_and_read(tmp_path):
    path = tmp_path / "table.toml"
    path.write_text(TABLE.toml("a comment"), "utf-8")
    assert path.read_text("utf-8").startswith("# a comment\n")
    again = read_table(path)
    assert again == TABLE
    assert hash(again) == hash(TABLE)
    assert again.source == str(path)
    assert again != replace(TABLE, min_work=1001)
    assert CrossoverTable.of(TABLE.content(), "here") == TABLE


def write_user_table(text: str) -> Path:
    path = user_table_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    use_table(None)
    return path


def test_the_shipped_table_is_used_until_the_user_has_one(tmp_path, monkeypatch):
    assert active_table() is shipped_table()
    path = write_user_table(TABLE.toml())
    assert path == tmp_path / "nwavesdk" / "crossover.toml"
    assert active_table() == TABLE
    use_table(shipped_table())
    assert active_table() is shipped_table()
    use_table(None)
    named = tmp_path / "named.toml"
    named.write_text(replace(TABLE, min_work=7).toml(), "utf-8")
    monkeypatch.setenv("NWAVESDK_CROSSOVER", str(named))
    assert active_table().min_work == 7


@pytest.mark.parametrize("variable", ["NWAVESDK_CROSSOVER", "XDG_CONFIG_HOME", "HOME"])
def test_a_variable_that_changes_changes_the_table(variable, tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    assert active_table() is shipped_table()
    path, folder = {
        "NWAVESDK_CROSSOVER": (tmp_path / "t.toml", tmp_path / "t.toml"),
        "XDG_CONFIG_HOME": (tmp_path / "s" / "nwavesdk" / "crossover.toml", tmp_path / "s"),
        "HOME": (tmp_path / "h" / ".config" / "nwavesdk" / "crossover.toml", tmp_path / "h"),
    }[variable]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TABLE.toml(), "utf-8")
    monkeypatch.setenv(variable, str(folder))
    for _ in range(2):
        assert active_table() == TABLE
    monkeypatch.setenv(variable, str(tmp_path / "nobody"))
    if variable == "NWAVESDK_CROSSOVER":
        for _ in range(2):
            with pytest.raises(ValueError, match="which is not a file"):
                active_table()
        monkeypatch.delenv(variable)
    assert active_table() is shipped_table()


def test_a_table_does_not_change_while_a_process_runs():
    write_user_table(TABLE.toml())
    assert active_table() == TABLE
    user_table_path().write_text(replace(TABLE, min_work=7).toml(), "utf-8")
    assert active_table() == TABLE


@pytest.mark.parametrize(("text", "words"), [
    ("min_work = [", "is not a crossover table"),
    ("min_work = 3", "is not a crossover table: inputs: missing"),
    (TABLE.toml() + "more = 1\n", "is not a crossover table: more: expected no entry"),
    (TABLE.toml().replace("0.4", "4"), "forward.1.1.1: .*got 4"),
    (TABLE.toml().replace("[16, 64]", "16"), "is not a crossover table"),
    (TABLE.toml().replace("64", "9" * 400), "is not a crossover table: inputs.1: .* less than"),
    (TABLE.toml().replace("64", "9" * 5000), "is not a crossover table: it is not TOML"),
    (TABLE.toml().replace("64", "1e300"), "inputs.1: expected a whole number"),
    (TABLE.toml().replace("16, 64", str([*range(1, 99)])[1:-1]), "inputs: .* at most 64 items"),
    (TABLE.toml().replace("0.4", "inf"), "forward.1.1.1: .*got inf"),
    (f"min_work = {2**63 - 1}\n" + TABLE.toml().partition("\n")[2], "min_work: expected at most"),
    ("a" * 70_000, "it is too large .70,000 bytes"),
    ("a = " + "[" * 1000, "it is not TOML .maximum recursion depth"),
    ("a\x1b[31m = 1", "is not a crossover table"),
])  # fmt: skip
def test_a_damaged_file_is_named_with_its_remedy(text, words):
    path = write_user_table(text)
    with pytest.raises(ValueError, match=words) as caught:
        active_table()
    assert str(path) in str(caught.value)
    assert "nwave tune-kernels --reset" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_what_is_not_a_file_is_not_a_table():
    user_table_path().mkdir(parents=True)
    use_table(None)
    with pytest.raises(ValueError, match="is not a crossover table: it is a folder, expected"):
        active_table()


def test_a_named_table_must_exist(tmp_path, monkeypatch):
    monkeypatch.setenv("NWAVESDK_CROSSOVER", str(tmp_path / "nothing"))
    with pytest.raises(
        ValueError, match="NWAVESDK_CROSSOVER names .*nothing, which is not a file: unset it"
    ):
        active_table()


def test_the_shipped_table_is_sound_and_names_its_machine():
    table = shipped_table()
    assert table.source == "shipped"
    for grid in (table.forward, table.forward_with_graph, table.weight_gradient):
        assert any(density > 0 for plane in grid for row in plane for density in row)
    head = (Path(crossover.__file__).parent / "crossover.toml").read_text("utf-8").splitlines()[:4]
    assert "nwave tune-kernels" in " ".join(head)
