"""The text of the source: paragraphs inside of functions, names of variables, and prose.

The limits are near the numbers of well-written libraries.
"""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import nwavesdk

SOURCE = Path(nwavesdk.__file__).parent

# A body is the text of a function without its docstring. A long body without a blank line and
# without a comment is dense. Limits of the share of dense bodies among the long ones, and of the
# share of blank lines in all bodies.
LONG = 15
MAX_DENSE = 0.20
MIN_BLANK = 0.04

# Phrases of comments and docstrings that stand for a noun, per 1,000 words.
MAX_PHRASES = {
    r"(those|that)\s+of": 0.4,
    r"what": 1.2,
    r"another\s+one": 0.2,
}

# Names of variables, parameters and constants that do not describe their value, and the maximal
# number of definitions with such a name in each package: 0 in packages without an entry. A constant
# is a `MAX_...` or a `MIN_...`.
VAGUE = re.compile(r"what|found|one|of|own|kept|told|place|held|_?(MOST|LEAST)_\w+")
MAX_VAGUE = {"net": 1}  # `Folded.kept`, which is public

# Tuples that are only written to be unpacked, as in `[*("a", "b"), *("c", "d")]`.
MAX_UNPACKED = 5

# Constructors with more arguments take some by keyword; except these, whose order is NWAVE's.
MAX_POSITIONAL = 4
POSITIONAL = {"LIFLayer", "NWaveDataloaderConfig"}

# Comments, and strings, which may contain "#". A tokenizer would take ten times as long.
STRING_OR_COMMENT = re.compile(
    r"""
    (?P<quotes>"{3}|'{3}) [\s\S]*? (?P=quotes)
    | "(?:\\.|[^"\\])*"
    | '(?:\\.|[^'\\])*'
    | (?P<comment>\#.*)
    """,
    re.VERBOSE,
)
# An instruction to a tool is not a comment.
INSTRUCTION = re.compile(r"# *(noqa|type:)")

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DOCUMENTED = (ast.Module, ast.ClassDef, *FUNCTIONS)


class Body(NamedTuple):
    """The size of a function's body in lines."""

    title: str
    lines: int
    blank: int
    comments: int

    @property
    def is_dense(self) -> bool:
        return self.lines >= LONG and not self.blank and not self.comments


class Text:
    """The lines, the comments and the syntax tree of a module."""

    def __init__(self, text: str, title: str) -> None:
        self.title = title
        self.lines = text.splitlines()
        self.nodes = list(ast.walk(ast.parse(text)))
        self.comments = {
            text.count("\n", 0, match.start()) + 1: match["comment"]
            for match in STRING_OR_COMMENT.finditer(text)
            if match["comment"] and not INSTRUCTION.match(match["comment"])
        }

    def bodies(self) -> list[Body]:
        """The bodies of all functions. Blank lines inside of strings do not count."""
        strings = {
            line
            for node in self.nodes
            if isinstance(node, ast.Constant | ast.JoinedStr)
            for line in range(node.lineno, node.end_lineno)
        }

        bodies = []
        for node in self.nodes:
            if isinstance(node, FUNCTIONS):
                statements = node.body[ast.get_docstring(node, clean=False) is not None :]
                first = statements[0].lineno if statements else node.end_lineno + 1
                numbers = {*range(first, node.end_lineno + 1)}
                blank = {number for number in numbers if not self.lines[number - 1].strip()}

                # A comment above the first statement counts, so the search begins at `def`.
                comments = self.comments.keys() & {*range(node.lineno, node.end_lineno + 1)}
                title = f"{self.title}:{node.name}"
                bodies.append(Body(title, len(numbers), len(blank - strings), len(comments)))
        return bodies

    def prose(self) -> str:
        """All comments and docstrings, without the code of examples."""
        docstrings = [
            ast.get_docstring(node) for node in self.nodes if isinstance(node, DOCUMENTED)
        ]
        lines = "\n".join(filter(None, docstrings)).splitlines()
        texts = [line for line in lines if not line.strip().startswith((">>>", "..."))]
        return "\n".join([*self.comments.values(), *texts]).lower()

    def vague_names(self) -> list[str]:
        """The names of variables and parameters that do not describe their value."""
        names = [node.arg for node in self.nodes if isinstance(node, ast.arg)]
        names += [
            node.id
            for node in self.nodes
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        ]
        return [f"{self.title}: {name}" for name in names if VAGUE.fullmatch(name)]

    def unpacked_tuples(self) -> list[str]:
        """The places of tuples that are only written to be unpacked."""
        return [
            f"{self.title}:{node.lineno}"
            for node in self.nodes
            if isinstance(node, ast.Starred) and isinstance(node.value, ast.Tuple)
        ]


@cache
def texts() -> list[Text]:
    """The texts of all modules."""
    return [
        Text(file.read_text(encoding="utf-8"), file.relative_to(SOURCE).as_posix())
        for file in SOURCE.rglob("*.py")
    ]


def test_bodies_have_paragraphs() -> None:
    bodies = [body for text in texts() for body in text.bodies()]
    dense = sorted((body for body in bodies if body.is_dense), key=lambda body: -body.lines)
    share = len(dense) / sum(body.lines >= LONG for body in bodies)
    longest = "\n".join(f"{body.title}, {body.lines} lines" for body in dense[:20])
    assert share <= MAX_DENSE, f"blank lines between thoughts, or comments, are missing:\n{longest}"
    blank = sum(body.blank for body in bodies) / sum(body.lines for body in bodies)
    assert blank >= MIN_BLANK


@pytest.mark.parametrize("phrase", MAX_PHRASES)
def test_prose_repeats_the_noun(phrase: str) -> None:
    proses = {text.title: text.prose() for text in texts()}
    counts = Counter({title: len(re.findall(rf"\b{phrase}\b", p)) for title, p in proses.items()})
    words = sum(len(re.findall("[a-z']+", prose)) for prose in proses.values())
    message = f"write the noun in comments and docstrings: {counts.most_common(20)}"
    assert counts.total() <= MAX_PHRASES[phrase] * words / 1000, message


def test_names_describe_their_value() -> None:
    names = [name for text in texts() for name in text.vague_names()]
    counts = Counter(name.partition("/")[0] for name in names)
    excess = {package for package in counts if counts[package] > MAX_VAGUE.get(package, 0)}
    assert not [name for name in names if name.partition("/")[0] in excess]


def positional_fields(node: ast.ClassDef) -> int:
    """The number of positional arguments of a class's constructor."""
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return len(statement.args.args) - 1

    decorators = " ".join(map(ast.unparse, node.decorator_list))
    if "dataclass" not in decorators or "kw_only" in decorators:
        return 0
    fields = [s for s in node.body if isinstance(s, ast.AnnAssign)]
    names = [ast.unparse(field.target) for field in fields]
    return names.index("_") if "_" in names else len(fields)


def test_constructors_take_many_arguments_by_keyword() -> None:
    classes = [node for text in texts() for node in text.nodes if isinstance(node, ast.ClassDef)]
    long = {node.name for node in classes if positional_fields(node) > MAX_POSITIONAL}
    assert long == POSITIONAL


def test_tuples_are_not_written_to_be_unpacked() -> None:
    places = [place for text in texts() for place in text.unpacked_tuples()]
    assert len(places) <= MAX_UNPACKED, f"write the elements in the list: {places}"


def test_strings_and_instructions_to_tools_do_not_count() -> None:
    head = ["def f(what):", '    """A.', "", '    B."""']
    body = [
        '    text = """C',
        "",
        '"""  # noqa: E501',
        "    own = text  # why",
        "",
        "    return own",
    ]
    text = Text("\n".join([*head, *body]), "module")
    assert text.bodies() == [Body("module:f", 6, 1, 1)]
    assert text.prose() == "# why\na.\n\nb."
    assert text.vague_names() == ["module: what", "module: own"]
