"""The site has every page, package and neuron, and shows docstrings as they are meant."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.docs

ROOT = Path(__file__).parents[1]
# Packages without public names of their own.
INNER = {"cli", "internal"}
# Names without an example that a doctest runs, and why.
NO_EXAMPLE = {
    "train.TrainedRun": "needs a finished run, which takes a training",
    "train.Detector": "needs a finished run, which takes a training",
    "train.ScoreStream": "needs a finished run, which takes a training",
    "deploy.ChipRun": "needs a finished run, which takes a training",
    "interop.neurobench_eval.measure_net": "needs the data and the task of a run",
}


def pages_of(nav: Any) -> list[str]:
    """All pages of a navigation."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in pages_of(part)]


def reference() -> str:
    """The pages of all packages, one after the other."""
    from docs.site.reference import PACKAGES, package_pages

    pages = [page for item in PACKAGES.items() for page in package_pages(*item).values()]
    return "\n".join(map(str, pages))


def yaml_of(name: str) -> Any:
    """A file of the repository in the format YAML."""
    import yaml

    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_navigation_has_every_page_once() -> None:
    nav = pages_of(yaml_of("mkdocs.yml")["nav"])
    docs = ROOT / "docs"
    written = {str(path.relative_to(docs)) for path in docs.rglob("*.md")}
    written -= {
        page for page in written if page.startswith(("generated/", "tutorials/", "decisions/"))
    }
    assert written <= set(nav)
    assert len(nav) == len(set(nav))


def test_the_site_has_the_pages_and_scripts_of_tutorials() -> None:
    from mkdocs.config.config_options import PathSpec

    excluded = PathSpec().validate(yaml_of("mkdocs.yml")["exclude_docs"])
    made = [f"generated/tutorials/{name}" for name in ("index.md", "plot_01_spike.py")]
    assert not any(map(excluded.match_file, made))
    assert all(map(excluded.match_file, ["tutorials/plot_01_spike.py", "site/hooks.py"]))


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "pictures").glob("*.py")), ids=str)
def test_programs_of_pictures_find_what_they_import(path: Path) -> None:
    import_module(f"docs.pictures.{path.stem}")


def test_tutorials_are_short() -> None:
    tutorials = [*(ROOT / "docs" / "tutorials").glob("plot_*.py")]
    assert len(tutorials) >= 14
    # A tutorial with an exercise and its answer has about 1,100 words, code included.
    too_long = [one.name for one in tutorials if len(one.read_text().splitlines()) > 210]
    assert not too_long


def test_the_reference_has_every_package_in_the_navigation() -> None:
    from docs.site.reference import PACKAGES

    folders = {path.parent.name for path in (ROOT / "src" / "nwavesdk").glob("*/__init__.py")}
    assert {name.rpartition(".")[2] for name in PACKAGES} == {"nwavesdk", *folders} - INNER
    nav = pages_of(yaml_of("mkdocs.yml")["nav"])
    assert {f"reference/{name.rpartition('.')[2]}.md" for name in PACKAGES} <= set(nav)


def test_the_reference_shows_an_example_for_every_class_and_function() -> None:
    import griffe

    library = griffe.load("nwavesdk", search_paths=[ROOT / "src"])
    without_example = set()
    entries = re.findall(r"^::: nwavesdk[.](.+)$", reference(), re.MULTILINE)
    assert len(entries) == len(set(entries))
    for entry in entries:
        shown = library[entry]
        assert shown.docstring is not None, entry
        # Constants and type aliases have a sentence.
        if not shown.is_attribute and ">>> " not in shown.docstring.value:
            without_example.add(entry)
    assert without_example == {*NO_EXAMPLE}


def test_the_reference_describes_or_links_every_public_name() -> None:
    import importlib

    from docs.site.reference import FAMILIES, PACKAGES, package_pages
    from nwavesdk.surrogate import available

    nav = pages_of(yaml_of("mkdocs.yml")["nav"])
    assert {f"reference/{name}.md" for family in FAMILIES.values() for name in family} <= set(nav)
    second = {surrogate.__name__ for surrogate in available().values()}
    for package, title in PACKAGES.items():
        text = "\n".join(map(str, package_pages(package, title).values()))
        shown = {*re.findall(r"^(?:::: |      heading: )\S+[.](\w+)$|\[`(\w+)`\]\[", text, re.M)}
        names = {name for pair in shown for name in pair}
        public = {*importlib.import_module(package).__all__} - {"__version__"}
        assert public - second <= names, package


def test_brackets_of_units_are_text_and_examples_are_code() -> None:
    from docs.site.docstrings import as_markdown

    text = (
        "Rates [Hz] [B, T] of `x[0]`, see [page](a.md).\n\n    r[t] = x[t]\n\n"
        "Example:\n    >>> a[0][1]\n\nRaises:\n    E: [0]"
    )
    shown = as_markdown(text)
    assert shown.startswith(r"Rates \[Hz] \[B, T] of `x[0]`, see [page](a.md).")
    assert "\n    r[t] = x[t]\n" in shown
    assert "Examples:\n    >>> a[0][1]\n" in shown
    assert shown.endswith(r"E: \[0]")


def test_a_neuron_has_the_arguments_of_its_layer() -> None:
    import griffe

    from docs.site.docstrings import OurDocstrings

    extensions = griffe.load_extensions(OurDocstrings)
    layers = griffe.load(
        "nwavesdk.layers.zoo.adaptive", search_paths=[ROOT / "src"], extensions=extensions
    )
    neuron = layers["ALIFLayer"]
    assert [p.name for p in neuron.parameters][:2] == ["n_neurons", "tau"]
    assert neuron.parameters["options"].kind is griffe.ParameterKind.var_keyword
    assert "Input and states:\n    - x: Input current" in neuron.docstring.value
    assert "    x: Input" not in neuron.docstring.value


def test_a_default_is_a_number_that_a_user_could_write() -> None:
    import griffe

    from docs.site.docstrings import OurDocstrings, as_written
    from nwavesdk.data.decoding import MAX_RECORDING_SECONDS

    assert (
        as_written("MAX_RECORDING_SECONDS", "nwavesdk.data.decoding")
        == f"{MAX_RECORDING_SECONDS:g}"
    )
    for text in ("None", "-80.0", "1e-3", "'linear'", "LIGHT", "torch.float32"):
        assert as_written(text, "nwavesdk.plot.theme") == text
    code = """
        TABLE = {1: read_page(f)}
        SIZES = (1, 2)
        def layer(tau=281 / 30 * 1e-3): ...
        class Surrogate:
            alpha: float = parameter(2.0, 1.0001, 1e3)
            rate: Annotated[int, Field(ge=1)] = 16000
            _secret: int = 0
    """
    extensions = griffe.load_extensions(OurDocstrings)
    with griffe.temporary_visited_module(code, extensions=extensions) as module:
        assert module["layer"].parameters["tau"].default == "0.009367"
        assert module["Surrogate.alpha"].value == "2.0"
        assert str(module["Surrogate.rate"].annotation) == "int"
        assert module["Surrogate._secret"].annotation is None  # not in the signature of the class
        assert module["TABLE"].value is None
        assert str(module["SIZES"].value) == "(1, 2)"


def test_the_table_of_contents_has_surrogates_by_the_names_that_users_write() -> None:
    from nwavesdk.surrogate import available

    labels = re.findall(r"^      toc_label: (.+)$", reference(), re.MULTILINE)
    assert {*labels} == {*available()}


def test_the_settings_of_a_run_have_every_field_of_every_class() -> None:
    from docs.site.reference import reference_pages
    from nwavesdk.train.config.run_config import UNIONS

    text = str(reference_pages()["reference/config.md"])
    for section, (tag, models) in UNIONS.items():
        table = text.partition(f"### {section}: shared fields\n")[2].partition("\n#")[0]
        shared = re.findall(r"^[|] `(\w+)` .* [|] (?:(all but )|(all)|)(.*) [|]$", table, re.M)
        for name, model in models.items():
            own = text.partition(f"### {tag} = {name}\n")[2].partition("\n#")[0]
            shown = re.findall(r"^[|] `(\w+)`", own, re.M)
            shown += [
                field
                for field, but, is_of_all, names in shared
                if is_of_all or (name in names.split(", ")) != bool(but)
            ]
            fields = {
                field
                for field, facts in model.model_json_schema()["properties"].items()
                if "const" not in facts and facts.get("type") != "null"
            }
            assert sorted(shown) == sorted(fields), (section, name)


def test_the_gallery_names_neurons_that_exist() -> None:
    from docs.site.gallery import NIR_NODES, PEERS
    from nwavesdk.layers.catalogue import available_neurons

    assert {*NIR_NODES, *PEERS} <= set(available_neurons())


def test_the_reference_has_the_numbers_of_chips_and_of_results() -> None:
    from docs.site.formats import RESULT, format_pages
    from nwavesdk.chip import CHIPS, load_profile

    pages = format_pages()
    rows = str(pages["reference/chips.md"]).splitlines()
    for entries in (load_profile(name).entries for name in CHIPS):
        for name, entry in entries.items():
            is_marked = entry.source != "documented"
            mark = f"| **{entry.source}** |" if is_marked else "| documented |"
            assert any(row.startswith(f"| `{name}` |") and mark in row for row in rows)
    files = str(pages["reference/files.md"])
    assert all(f"| `{name}` | " in files for name in RESULT)
    assert "$" not in files


def test_the_page_cites_what_the_file_for_citations_says() -> None:
    page = (ROOT / "docs" / "about" / "cite.md").read_text(encoding="utf-8")
    citation = yaml_of("CITATION.cff")
    (author,) = citation["authors"]
    for value in (
        f"title   = {{{citation['title']}}}",
        f"author  = {{{{{author['name']}}}}}",
        f"version = {{{citation['version']}}}",
        f"date    = {{{citation['date-released']}}}",
        f"license = {{{citation['license']}}}",
        f"note    = {{{citation['abstract']}}}",
    ):
        assert value in page


def test_the_search_has_names_in_code_as_words_and_no_numbers() -> None:
    from docs.site.search_words import words_of

    plugins = yaml_of("mkdocs.yml")["plugins"]
    (separator,) = [one["search"]["separator"] for one in plugins if "search" in one]
    text = "<p><code>LIFLayer(9, spike_grad=nw.surrogate.atan(2.0))</code>-1e-3 &lt;h1v2&gt;</p>"
    names = {"liflayer", "spike_grad", "nw", "surrogate", "atan", "h1v2"}
    assert words_of([{"title": "Spikes, slopes", "text": text}], separator) == {
        "spikes",
        "slopes",
        *names,
    }


def test_queries_that_no_heading_answers_are_found() -> None:
    from docs.site.search_words import QUERIES, unanswered

    docs = [{"title": "Where is <code>NaN</code>?", "text": "silence"}, {"title": "x", "text": ""}]
    assert unanswered(docs, r"\W+") == [query for query in QUERIES if query != "NaN"]
    titles = re.findall("^## (.+)$", (ROOT / "docs/how-to/questions.md").read_text(), re.MULTILINE)
    assert not unanswered([{"title": title, "text": ""} for title in titles], r"\W+")


def test_words_that_the_search_confuses_are_found() -> None:
    from docs.site.search_words import has_wrong_words

    # Letters are nodes 1, 2, ... in this order. "b" has edges "1" and "3" to the end of words,
    # which is node 2; the last "x" has the edge "1" to node 232. Both have the key "01232".
    words = ["a", "b1", "b3", "c" + 225 * "x" + "1y"]
    assert has_wrong_words(words)
    assert not has_wrong_words(words[:3])
    assert not has_wrong_words(["a", "b1", "b3", "c" + 224 * "x" + "1y"])


def test_a_picture_of_a_tutorial_is_described_by_its_heading() -> None:
    from docs.site.hooks import describe_pictures

    page = '## A "raster"\n{0}\n<img alt="plot 03 read" src="a">\n![Title](b)\n'
    shown = (
        '## A "raster"\n{0}\n<img alt="Picture of the section: A raster" src="a">\n![Title](b)\n'
    )
    picture = "![plot 03 read](./images/a.png)"
    described = "![Picture of the section: A raster](./images/a.png)"
    assert describe_pictures(page.format(picture)) == shown.format(described)


def test_a_named_page_is_a_link_except_in_code() -> None:
    from types import SimpleNamespace

    from docs.site.hooks import on_page_markdown

    page: Any = SimpleNamespace(file=SimpleNamespace(src_uri="how-to/errors.md"), meta={})
    files: Any = SimpleNamespace(get_file_from_path={"data.md": "a file"}.get)
    code = "```sh\nnwave data  # see `docs/data.md`\n```\n"
    shown = on_page_markdown(f"{code}See `docs/data.md`.\n{code}", page, files)
    assert shown == f"{code}See [data](../data.md).\n{code}"
    assert not page.meta
    page.file.src_uri = "about/changelog.md"
    on_page_markdown("", page, files)
    assert page.meta["search"] == {"exclude": True}
