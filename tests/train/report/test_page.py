"""Pages in a browser, dark and light, narrow and wide: plots react, tables sort, no network."""

import shutil

import pytest
import torch

from nwavesdk.surrogate import atan, fast_sigmoid, sigmoid
from nwavesdk.train.report.page import (
    SLIDER_FACTORS,
    Card,
    Details,
    FactList,
    Picture,
    ReportPage,
    Table,
    course_plot,
    gradient_plot,
    surrogate_plot,
)

ARMS = {"fast_sigmoid": fast_sigmoid(), "atan <3>": atan(alpha=3.0), "sigmoid": sigmoid()}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    z = torch.sin(torch.arange(60) / 5)
    courses = {
        "loss": {"x </script>": [[2, 1]]},
        "accuracy": {"x": [[0.1, 0.5, 0.8]], "y": [[0.2, 0.4], [0.3, float("nan")]]},
    }
    rows = [["b", 0.25], ["a", 10.0], ["c", -1.5], ["d", float("nan")]]
    sections = [
        Table("Numbers", "Sortable.", ["name", "value"], rows),
        surrogate_plot(ARMS),
        gradient_plot(ARMS, z, (z > 0).float(), 1e-3),
        course_plot(courses),
    ]
    page = ReportPage(title="A & B", summary="What <is> shown.", sections=sections)
    file = tmp_path_factory.mktemp("page") / "page.html"
    page.write(file)
    return file


def test_a_page_is_one_file_and_escapes_texts(path):
    text = path.read_text()
    assert "<title>A &amp; B</title>" in text
    assert "What &lt;is&gt; shown." in text
    assert "https://" not in text


def test_a_page_without_plots_and_tables_has_no_script(tmp_path, monkeypatch):
    monkeypatch.setattr("nwavesdk.train.report.page.render_png", lambda draw, _: draw)
    page = ReportPage(
        title="Run <1>",
        summary="A summary.",
        headline=("97 %", "test accuracy"),
        sections=[
            FactList({"seed & co": "<0>"}),
            Picture("name", "A picture.", b"PNG"),
            Details("config.json", '{"a":\n"</pre>"}'),
        ],
    )
    page.write(tmp_path / "run.html")
    assert (tmp_path / "pictures" / "name.png").read_bytes() == b"PNG"
    text = (tmp_path / "run.html").read_text()
    assert "<script" not in text
    assert "97 % <small>test accuracy</small>" in text
    assert "<tr><th>seed &amp; co</th><td>&lt;0&gt;</td></tr>" in text
    assert text.count("data:image/png;base64,") == 2
    assert "{&#34;a&#34;:\n&#34;&lt;/pre&gt;&#34;}" in text


def test_a_page_shows_all_letters_of_a_name(tmp_path):
    name = "a\x1b\r\u202e\udcff"
    page = ReportPage(
        title=name,
        summary=name,
        headline=(name, name),
        cards=[Card(name, name, name)],
        sections=[
            FactList({name: name}),
            Details(name, name),
            Table(name, name, [name], [[name]]),
        ],
    )
    page.write(tmp_path / "new" / "run.html")
    text = (tmp_path / "new" / "run.html").read_bytes().decode()
    assert r"<title>a\x1b\r\u202e\udcff</title>" in text
    assert not set(name[1:]) & set(text)


@pytest.fixture(scope="module")
def browser():
    chromium = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if chromium is None:
        pytest.skip("no chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[("light", 1100), ("dark", 390)], ids=["light and wide", "dark and narrow"])
def page(browser, path, request):
    scheme, width = request.param
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    page = context.new_page()
    wrong = []
    page.on(
        "console",
        lambda message: (
            wrong.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda sent: (
            wrong.append(sent.url) if not sent.url.startswith(("file:", "data:")) else None
        ),
    )
    page.goto(path.as_uri())
    yield page
    assert wrong == []
    context.close()


def test_it_fits_its_window_and_draws_everything(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    for part, count in (("curves", 1 + len(ARMS)), ("trace", 3), ("courses", 1)):
        assert page.locator(f"section[data-plot={part}] svg path").count() == count


def test_the_slider_changes_the_shade_and_not_the_membrane(page):
    section = page.locator("section[data-plot=trace]")
    slider, shade = section.locator("input[type=range]"), section.locator("path.derivative")
    membrane = section.locator("svg path").last
    assert section.locator("output").text_content() == "slope = 25"
    before, spikes = shade.get_attribute("d"), membrane.get_attribute("d")
    slider.fill("0")
    assert section.locator("output").text_content() == f"slope = {25 * SLIDER_FACTORS[0]:.3g}"
    assert shade.get_attribute("d") != before
    assert membrane.get_attribute("d") == spikes
    section.locator("select").select_option("atan <3>")
    assert section.locator("output").text_content() == "alpha = 3"


def test_tables_sort_up_and_down_by_number(page):
    names = lambda: page.locator("tbody tr td:first-child").all_text_contents()  # noqa: E731
    assert names() == ["b", "a", "c", "d"]
    head = page.locator("th button", has_text="value")
    head.click()
    assert [name for name in names() if name != "d"] == ["c", "b", "a"]
    head.click()
    assert [name for name in names() if name != "d"] == ["a", "b", "c"]
    page.locator("th button", has_text="name").click()
    assert names() == ["a", "b", "c", "d"]


def test_another_quantity_is_drawn(page):
    section = page.locator("section[data-plot=courses]")
    assert section.locator("option").all_text_contents() == ["loss", "accuracy"]
    section.locator("select").select_option("accuracy")
    assert section.locator("svg path").count() == 3


def test_curves_relative_to_their_peaks(page):
    section = page.locator("section[data-plot=curves]")
    before = section.locator("svg path").nth(1).get_attribute("d")
    section.locator("input").check()
    assert section.locator("svg path").nth(1).get_attribute("d") != before


def test_dark_is_dark(page):
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert color in ("rgb(255, 255, 255)", "rgb(20, 24, 29)")
    assert (color == "rgb(20, 24, 29)") == page.evaluate(
        "matchMedia('(prefers-color-scheme: dark)').matches"
    )


def test_more_curves_than_colors_differ_by_dashes(browser, tmp_path):
    """In the plot and in its key."""
    plot = surrogate_plot({f"arm {i}": fast_sigmoid(1.0 + i) for i in range(8)})
    many = ReportPage(title="Many", summary="", sections=[plot])
    many.write(tmp_path / "many.html")
    page = browser.new_page()
    page.goto((tmp_path / "many.html").as_uri())
    looks = (
        "lines => lines.map(line => "
        "`${line.getAttribute('stroke')} ${line.getAttribute('stroke-dasharray')}`)"
    )
    lines = page.locator("section[data-plot=curves] > svg path").evaluate_all(looks)[1:]
    assert len(lines) == len(set(lines)) == 8
    assert page.locator(".keys line").evaluate_all(looks) == lines
    page.close()


def test_the_check_of_the_site_finds_each_fault(browser, tmp_path):
    from docs.site.check import faults_of

    page = tmp_path / "page.html"
    page.write_text(
        "<article><img src='a.png'><p style='color: #ccc'>pale</p><p style='width: 600px'>wide</p>"
        f"<pre><code style='display: block; overflow: auto'>{'x' * 400}</code></pre></article>"
    )
    faults = [*faults_of(browser.new_page(), page.as_uri())]
    assert len(faults) == 7
    assert f"1280 pixels: code is cut: {'x' * 60}" in faults
    assert "1280 pixels: no alternative text: a.png" in faults
    assert "390 pixels: contrast 1.6 of P.: pale" in faults
    assert "390 pixels: page is 608 pixels wide" in faults
    assert "ERR_FILE_NOT_FOUND" in faults[-1]
