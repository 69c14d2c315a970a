"""`nwave net`: pages to copy, and errors of one line."""

import pytest

from cli.command import json_object, nwave
from nwavesdk.presets import NAMES, page_path
from nwavesdk.train.config.run_config import UNIONS


def test_the_list_has_a_line_and_the_options_of_each_preset() -> None:
    result = nwave("net")
    assert result.exit_code == 0
    heads = [line.split()[0] for line in result.stdout.splitlines() if line[:1].isalpha()]
    assert heads[:-1] == [*NAMES]
    facts = json_object(nwave("net", "--json"))["presets"]
    _, models = UNIONS["net"]
    for preset in facts:
        assert {*preset["options"], "name"} == models[preset["preset"]].model_fields.keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_printed_as_it_is(name: str) -> None:
    text = page_path(name).read_text()
    assert nwave("net", name).stdout == text
    assert json_object(nwave("net", name, "--json"))["text"] == text


def test_an_unknown_net_is_one_line() -> None:
    result = nwave("net", "conf")
    assert result.exit_code == 2
    assert result.stderr.startswith("nwave: PRESET: 'conf' is not one of 'lif', ")
    assert len(result.stderr.splitlines()) == 1
