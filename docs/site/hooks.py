"""What MkDocs calls while it builds the site: it adds generated pages and links between pages."""

import json
import re
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.site.gallery import neuron_pages, surrogate_pages
from docs.site.reference import reference_pages
from docs.site.search_words import has_wrong_words, unanswered, words_of

ROOT = Path(__file__).parents[2]

# Files of the repository that are pages of the site, too.
ROOT_PAGES = {
    "CHANGELOG.md": "about/changelog.md",
    "SECURITY.md": "about/security.md",
    "benchmarks/README.md": "about/benchmarks.md",
}

# Pages that the search box leaves out: the changelog has names that are gone.
NOT_SEARCHED = ("about/changelog.md",)

# A block of code, or a file of the documentation or of `ROOT_PAGES`, in back quotes.
CODE_OR_PAGE = re.compile(r"^ *```.*?^ *```$|`([\w/-]+\.md)`", re.M | re.S)
# The picture of a study, which is outside of `docs`.
STUDY_PICTURE = re.compile(r"\]\(\.\./(research/[\w/-]+\.png)\)")

# A heading of a tutorial, or the alternative text of a picture that has only the name of the file.
HEADING_OR_ALT = re.compile(
    r'^## +(?P<heading>.+)$|(?<=!\[)plot \d\d [^\]]*(?=\])|(?<=<img alt=")plot \d\d [^"]*(?=")',
    re.M,
)


@cache
def generated_pages() -> dict[str, str | bytes]:
    """Pages and pictures that the library makes, by their place in `docs`."""
    return {**neuron_pages(), **surrogate_pages(), **reference_pages()}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages. `mkdocs serve` makes them once."""
    for uri, content in generated_pages().items():
        files.append(File.generated(config, uri, content=content))
    for file, uri in ROOT_PAGES.items():
        text = (ROOT / file).read_text().replace("](results/", "](../benchmarks/results/")
        files.append(File.generated(config, uri, content=text))
    for picture in [*(ROOT / "research").rglob("*.png"), *(ROOT / "benchmarks").rglob("*.png")]:
        uri = str(picture.relative_to(ROOT))
        files.append(File.generated(config, uri, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Link every page that is named in back quotes outside of code, where the site has it."""

    def link(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        uri = ROOT_PAGES.get(match[1], match[1].removeprefix("docs/"))
        target = files.get_file_from_path(uri)
        if target is None or uri == page.file.src_uri:
            return match[0]
        depth = len(PurePosixPath(page.file.src_uri).parts) - 1
        name = match[1].removeprefix("docs/").removesuffix(".md")
        return f"[{name}]({'../' * depth}{uri})"

    if page.file.src_uri.startswith(NOT_SEARCHED):
        page.meta["search"] = {"exclude": True}
    if page.file.src_uri.startswith("generated/tutorials/plot_"):
        markdown = describe_pictures(markdown)
    return STUDY_PICTURE.sub(r"](\1)", CODE_OR_PAGE.sub(link, markdown))


def describe_pictures(markdown: str) -> str:
    """The page of a tutorial, each picture of which is described by the heading above it."""
    heading = "the start"

    def describe(match: re.Match[str]) -> str:
        nonlocal heading
        if match["heading"] is None:
            return f"Picture of the section: {heading}"
        heading = re.sub(r'["`\[\]]', "", match["heading"])
        return match[0]

    return HEADING_OR_ALT.sub(describe, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Stop if the search box would fail for some queries, or not answer queries of users."""
    index = json.loads((Path(config.site_dir) / "search" / "search_index.json").read_text("utf-8"))
    if queries := unanswered(index["docs"], index["config"]["separator"]):
        raise PluginError(
            f"No heading answers {', '.join(queries)}: write a heading with these words, "
            "or change `QUERIES` in docs/site/search_words.py."
        )
    if has_wrong_words(words_of(index["docs"], index["config"]["separator"])):
        raise PluginError(
            "The search box fails for some words of the site (see docs/site/search_words.py): "
            "write fewer words with digits, or make `separator` in mkdocs.yml pass over more."
        )
