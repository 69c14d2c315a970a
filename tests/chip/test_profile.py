"""Profiles: the shipped ones, files of the user, and their errors."""

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from importlib.resources import files

import pytest

from nwavesdk.chip import Energies, ExpansiveCharge, LinearCharge, Profile, load_profile


def shipped_text(chip):
    return (files("nwavesdk.chip") / "profiles" / f"{chip}.toml").read_text()


@pytest.mark.parametrize(("chip", "limit"), [("h1v1", 0.9), ("h1v2", 1.66)])
def test_shipped_profiles(chip, limit):
    profile = load_profile(chip)
    assert profile.number("weight_limit") == limit
    assert profile.entries["weight_limit"].source == "documented"
    assert all(entry.note and entry.unit for entry in profile.entries.values())
    assert {
        "threshold",
        "charge_gain",
        "leak_mismatch",
        "threshold_mismatch",
        "tau_profiles",
    } <= set(profile.assumed())
    assert profile.assumed("weight_limit", "threshold") == ("threshold",)
    assert isinstance(profile.charge_law, ExpansiveCharge if chip == "h1v1" else LinearCharge)
    assert bool(profile.tau_profiles) == (chip == "h1v2")


@pytest.mark.parametrize("chip", ["h1v1", "h1v2"])
def test_json_has_the_entries_of_the_file_in_order_and_all_numbers_as_floats(chip):
    profile = load_profile(chip)
    content = json.loads(profile.to_json())
    assert content["name"] == chip
    from_file = tomllib.loads(shipped_text(chip))
    assert list(content["entries"]) == list(from_file)
    assert content["entries"] == from_file
    assert '"weight_bits": {"value": 5.0, "unit": "bit", "source": ' in profile.to_json()
    assert Profile.from_json(profile.to_json()) == profile


@pytest.mark.parametrize(
    "text", ["3", "[]", "{}", '{"name": "x"}', "{", '{"name": 1, "entries": 2}']
)
def test_what_is_not_the_json_of_a_profile_is_rejected(text):
    with pytest.raises(
        ValueError,
        match=r"expected a profile as JSON|the profile of a chip (is not|holds a) JSON|name of a p",
    ):
        Profile.from_json(text)


def test_profiles_are_equal_if_name_and_entries_are():
    h1v1 = load_profile("h1v1")
    assert h1v1 == Profile("h1v1", h1v1.entries)
    assert h1v1 != Profile("other", h1v1.entries)
    assert h1v1 != load_profile("h1v2")


def test_profiles_are_read_without_torch():
    code = (
        "import sys, nwavesdk.chip as c; c.load_profile('h1v1'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_file_of_the_user_replaces_the_shipped_one(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        shipped_text("h1v2").replace("value = 1.66", "value = 1.5").replace("assumed", "measured")
    )
    assert load_profile(path).number("weight_limit") == 1.5
    assert load_profile(path).assumed() == ()


def test_the_name_of_a_chip_may_have_capitals():
    assert load_profile("H1v2") is load_profile("h1v2")


def test_a_missing_entry_or_file_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(shipped_text("h1v2").partition("[filter_power]")[0])
    with pytest.raises(ValueError, match="mine.toml: profile mine: filter_power: missing: correct"):
        load_profile(path)
    with pytest.raises(
        FileNotFoundError,
        match="found no profile h3: pass h1v1, h1v2, or the path to a TOML file",
    ):
        load_profile("h3")


def test_a_file_that_is_not_text_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"RIFF\xe4")
    with pytest.raises(ValueError, match="mine.toml is not TOML .'utf-8' codec"):
        load_profile(path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[threshold]", "[thresh]", r"threshold: missing; thresh: expected no entry of this name"),
        (
            'unit = "s"',
            'units = "s"',
            "tau_profiles.unit: missing; tau_profiles.units: expected no entry",
        ),
        ('unit = "s"', 'unit = " "', "tau_profiles.unit: string should match pattern"),
        (
            'source = "documented"',
            'source = "rumoured"',
            "neuron.source: expected 'documented', 'assumed' or 'measured' .got 'rumoured'",
        ),
        ("value = 1.66", "value = -1", r"weight_limit.value: .* least 0.0001 \(got -1\)"),
        ("value = 1.66", "value = true", r"weight_limit.value: .* a number \(got True\)"),
        ("value = 1.66", "value = inf", r"weight_limit.value: .* finite number \(got inf\)"),
        ("value = 1.66", 'value = "1.66"', r"weight_limit.value: .* a number \(got '1.66'\)"),
        ("value = 5\n", "value = 4.5\n", r"weight_bits.value: .* multiple of 1 \(got 4.5\)"),
        ("value = 5\n", "value = 9\n", r"weight_bits.value: .* at most 8 \(got 9\)"),
        ("value = [50, 50, 100]", "value = [50, 0]", r"cores.value.1: .* least 1 \(got 0\)"),
        ("value = [50, 50, 100]", "value = []", "cores.value: expected at least 1 item"),
        ("0.001, 0.00126", "0.00126, 0.001", "tau_profiles.value: expected numbers that rise"),
        ("value = 0.02\n", "value = 0.5\n", r"threshold_mismatch.value: .* 0.3 \(got 0.5\)"),
        (
            'value = "linear"',
            'value = "cubic"',
            r"charge_law.value: expected 'linear', 'expansive' or 'table' \(got 'cubic'\)",
        ),
        (
            'value = "linear"',
            'value = "table"',
            ": a charge table needs as many charges as weights, two at least, got 0",
        ),
        ("value = 0.0\n", "value = 0.1\n", "H1v2 synapses have no mismatch"),
        ("value = 100.0", "value = 4000", "filter_lowest must be below filter_highest"),
        ("[weight_limit]", "[weight_limit", ".toml is not TOML"),
        ("[neuron]", "x = 1\n[neuron]", r"x: expected no entry of this name \(got 1\)"),
    ],
)
def test_a_broken_file_names_the_entry(tmp_path, old, new, words):
    path = tmp_path / "mine.toml"
    path.write_text(shipped_text("h1v2").replace(old, new))
    with pytest.raises(ValueError, match=f"mine.*{words}.*: (restore|correct)") as error:
        load_profile(path)
    assert "\n" not in str(error.value).rstrip()


ABSURD = {
    "weight_limit": [1e300, 1e-300, 10**400, [1.0], {}, None],
    "weight_bits": [63, 1],
    "sign_block": [0, 2**70],
    "cores": [[1e9], [64] * 65, [10**9] * 1000, 64],
    "fan_in": [1e12],
    "threshold": [1e-300, 1e30, 0],
    "charge_gain": [1e-30, 1e30],
    "charge_steepness": [1e4],
    "charge_table_weights": [[0.0, 1e-300, 1.0], [0.0, 1e30], ["0"]],
    "tau_profiles": [[1e30], [1e-30], [-1.0], list(range(1, 5000))],
    "leak_mismatch": [-0.1, 30],
    "threshold_mismatch": [-0.1],
    "filters": [0, 10**9],
    "filter_lowest": [1e-300, 3400.0, 0, -1.0],
    "filter_highest": [1e30],
    "filter_order": [9],
    "static_power": [-1e-6, 5.0],
    "neuron_energy": [250.0, "much"],
    "filter_power": [float("nan")],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, vs in ABSURD.items() for v in vs])
def test_absurd_numbers_are_rejected_in_files_and_in_python(key, value):
    h1v1 = load_profile("h1v1")
    entry = h1v1.entries[key]
    table = {"value": value, "unit": entry.unit, "source": "measured", "note": "by hand"}
    for given in (table, replace(entry, value=value)) if value is not None else (table,):
        with pytest.raises(ValueError, match=rf"profile mine: .*{key}.*: correct the profile") as e:
            Profile("mine", {**h1v1.entries, key: given})
        assert "\n" not in str(e.value)
        assert len(str(e.value)) < 2000


@pytest.mark.parametrize(
    ("key", "unit"), [("tau_profiles", "ms"), ("static_power", "µW"), ("filter_lowest", "kHz")]
)
def test_another_physical_unit_is_rejected(key, unit):
    h1v1 = load_profile("h1v1")
    entry = replace(h1v1.entries[key], unit=unit)
    with pytest.raises(ValueError, match=rf"profile mine: {key}.unit: expected .* .got '{unit}'"):
        Profile("mine", {**h1v1.entries, key: entry})


def test_what_is_not_a_file_of_moderate_size_and_depth_is_rejected(tmp_path):
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    deep = tmp_path / "deep.toml"
    deep.write_text("x = " + "[" * 10000)
    for path, words in (
        (pipe, "is a pipe"),
        (tmp_path, "is a folder"),
        (deep, "not TOML .maximum"),
    ):
        with pytest.raises(ValueError, match=words):
            load_profile(path)


def test_a_control_character_in_a_file_name_is_escaped(tmp_path):
    path = tmp_path / "loud\x1b[31m\n.toml"
    path.write_text(shipped_text("h1v1"))
    assert load_profile(path).name == "loud\\x1b[31m\\n"
    with pytest.raises(ValueError, match="a text without control characters, got 'a.nb'"):
        Profile("a\nb", load_profile("h1v1").entries)


def test_power_is_the_sum_over_all_causes():
    energies = Energies(static=1.0, neuron=2.0, synapse=3.0, filter=4.0)
    power = energies.power(spikes=5, synaptic_events=7, seconds=2.0, filters=16)
    assert (power.static, power.neuron, power.synapse, power.front_end) == (1, 5, 10.5, 64)
    assert power.total == 80.5
