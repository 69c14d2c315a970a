"""Open the pages of the built site in Chromium, on a wide and on a narrow screen, and list faults.

    python -m mkdocs build --strict && python -m docs.site.check

Faults are errors on the console, pages that are wider than the screen, code that is cut on a wide
screen, pictures without alternative text, and text with too little contrast (WCAG 2.2, level AA:
4.5, or 3 for large text), in light and dark.
"""

import shutil
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Literal

from playwright.sync_api import Page, sync_playwright

__all__ = ["faults_of", "main"]

SITE = Path("build/site")
WIDE, NARROW = 1280, 390
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

# Faults of the open page, as lines. `wide` is whether code has to fit.
CHECK = """(wide) => {
  const faults = [];
  const article = document.querySelector("article") || document.body;
  if (document.documentElement.scrollWidth > innerWidth + 1)
    faults.push(`page is ${document.documentElement.scrollWidth} pixels wide`);
  for (const code of wide ? article.querySelectorAll("pre code") : [])
    if (code.scrollWidth > code.clientWidth + 1)
      faults.push(`code is cut: ${code.textContent.trim().slice(0, 60)}`);
  for (const image of article.querySelectorAll("img"))
    if (!image.alt && image.getAttribute("role") !== "presentation")
      faults.push(`no alternative text: ${image.src.split("/").pop()}`);

  const numbers = (color) => {
    const parts = color.match(/[\\d.]+/g).map(Number);
    return parts.length < 4 ? [...parts, 1] : parts;
  };
  const over = (top, below) => {
    const share = top[3];
    return [0, 1, 2].map((k) => share * top[k] + (1 - share) * below[k]).concat(1);
  };
  const background = (element) => {
    const layers = [];
    for (let node = element; node; node = node.parentElement)
      layers.unshift(numbers(getComputedStyle(node).backgroundColor));
    return layers.reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const light = (color) => {
    const [r, g, b] = color.slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const pale = new Map();
  const texts = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const style = getComputedStyle(element);
    if (!texts.currentNode.data.trim() || !element.getClientRects().length) continue;
    if (style.visibility === "hidden" || element.closest("[aria-hidden], .headerlink")) continue;
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const behind = background(element);
    const lights = [light(over(numbers(style.color), behind)), light(behind)].sort((a, b) => b - a);
    const contrast = (lights[0] + 0.05) / (lights[1] + 0.05);
    if (contrast < (isLarge ? 3 : 4.5))
      pale.set(`${element.tagName}.${element.className}`, [contrast, texts.currentNode.data]);
  }
  for (const [name, [contrast, text]] of pale)
    faults.push(`contrast ${contrast.toFixed(1)} of ${name}: ${text.trim().slice(0, 40)}`);
  return faults;
}"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves the site without a line for each request."""

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def faults_of(page: Page, address: str) -> Iterator[str]:
    """The faults of a page on both screens."""
    messages: list[str] = []
    page.on("console", lambda line: messages.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(address)
    for width in (WIDE, NARROW):
        page.set_viewport_size({"width": width, "height": 900})
        for fault in page.evaluate(CHECK, width == WIDE):
            yield f"{width} pixels: {fault}"
    yield from messages


def main() -> None:
    """Print the faults of all pages; the exit status is 1 if there are any."""
    names = sorted(file.relative_to(SITE).as_posix() for file in SITE.rglob("*.html"))
    if not names:
        sys.exit(f"{SITE} has no pages: run python -m mkdocs build --strict before")

    # The search of the site only works over HTTP.
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    Thread(target=server.serve_forever, daemon=True).start()

    count = 0
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme in SCHEMES:
            context = browser.new_context(color_scheme=scheme)
            for name in names:
                page = context.new_page()
                for fault in faults_of(page, f"http://127.0.0.1:{server.server_port}/{name}"):
                    count += 1
                    print(f"{name}, {scheme}: {fault}")
                page.close()
    print(f"{len(names)} pages, {count} faults")
    sys.exit(count > 0)


if __name__ == "__main__":
    main()
