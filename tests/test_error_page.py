"""The page of errors has messages of the source; those that are not there need no explanation.

Messages are read from the source: the first argument of errors and of warnings. The page has them
without their remedy. A message that is not on the page has a remedy, or what is expected.
A part that is filled in at run time is `…`, and an owner, such as the class of a layer, is `NAME`.
"""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "how-to" / "errors.md"
# Errors of our own whose first argument is a text, not a file.
OWN_ERRORS = {"BrokenRunError", "CannotSplitError", "LostError", "NetFileError", "PageError"}
WARNINGS = {"warnings.warn", "_warn_once"}
# Variables and calls that hold or return the name of a class or a function.
OWNER = re.compile(
    r"type\(\w+(\.\w+)?\)\.__name__|((self|module)\.)?_?(owner|(weight_)?title|OWNER)"
    r"|caller|(module)?_title\(.*\)"
)
# A first cell of a table, which is a message.
MESSAGE = re.compile(r"^\| ``(.+?)`` \|", re.MULTILINE)
# What a message without a remedy has, so that its reader knows what to do.
EXPECTED = re.compile(r"\b(must|expected|takes?|needs?|has to)\b")


@cache
def trees() -> list[ast.Module]:
    """The syntax trees of all modules."""
    return [ast.parse(path.read_text()) for path in (ROOT / "src" / "nwavesdk").rglob("*.py")]


def template(text: ast.expr) -> str:
    """A text as the page shows it; empty for what is not a text."""
    if isinstance(text, ast.Constant):
        return text.value if isinstance(text.value, str) else ""
    if isinstance(text, ast.BinOp):
        return template(text.left) + template(text.right)
    if not isinstance(text, ast.JoinedStr):
        return ""
    parts = [
        "…" if isinstance(part, ast.FormattedValue) else template(part) for part in text.values
    ]
    first = text.values[0]
    if isinstance(first, ast.FormattedValue) and OWNER.fullmatch(ast.unparse(first.value)):
        parts[0] = "NAME"
    return re.sub("…+", "…", "".join(parts))


def without_remedy(message: str) -> str:
    """A message up to its remedy, which begins after a colon; an owner ends with a colon, too."""
    owner, text = re.fullmatch(r"(\S+: )?(.*)", message, re.DOTALL).groups()
    return (owner or "") + re.split(": |; ", text)[0].rstrip(" .")


def texts_of_errors(tree: ast.Module) -> list[tuple[str, ast.expr]]:
    """The name of an error or a warning, and its text, of each in a module."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name = ast.unparse(node.func)
            text = node.args[1 if name == "_warn_once" else 0]
            if name in WARNINGS or (name.endswith("Error") and not name.startswith("_")):
                found.append((name, text))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "text":
            found.append(("text", node.value))  # the start of a message that is raised later
    return found


def messages_of_source() -> dict[str, list[str]]:
    """All messages that may be on the page, and the texts of the source that have each."""
    found: dict[str, list[str]] = {}
    nodes = [node for tree in trees() for node in ast.walk(tree)]
    classes = {node.name for node in nodes if isinstance(node, ast.ClassDef)}
    for name, text in (pair for tree in trees() for pair in texts_of_errors(tree)):
        message = template(text)
        first = re.match(r"\w*", message)[0]
        is_named = first == "NAME" or (first in classes and name != "text")
        is_own = name in OWN_ERRORS | WARNINGS
        if (is_named or is_own) and re.search("[a-z]{3}", message):
            found.setdefault(without_remedy(message), []).append(message)
    return found


def test_the_page_has_messages_of_the_source_and_all_that_do_not_say_what_to_do() -> None:
    page = MESSAGE.findall(PAGE.read_text())
    source = messages_of_source()
    assert len(source) > 200
    assert len(page) == len(set(page))
    assert set(page) - source.keys() == set()

    unclear = {
        message
        for message, texts in source.items()
        if any(text.rstrip(" .") == message for text in texts) and not EXPECTED.search(message)
    }
    assert unclear - set(page) == set()


def test_the_messages_of_the_command_are_in_the_source() -> None:
    table = PAGE.read_text().partition("## The command nwave")[2].partition("\n## ")[0]
    messages = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    nodes = [node for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.expr)]
    texts = "\n".join(filter(None, map(template, nodes)))
    of_typer = [message for message in messages if message.startswith("no such")]
    assert len(of_typer) == 2
    for message in set(messages) - set(of_typer):
        for part in filter(None, (part.strip(" ,:.()") for part in message.split("…"))):
            assert part in texts, message
