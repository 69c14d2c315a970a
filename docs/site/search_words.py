"""The words of the site's search index, and checks that the search finds what users look for.

The search (lunr 2.3.9 in mkdocs-material) stores its words as a graph of letters and joins nodes
that have the same key. A key is the labels and the ids of the edges of a node, one after another,
so an edge "1" to node 23 and an edge "12" to node 3 look the same. Words with many digits, such as
the numbers of a printed table, make such keys. Two different nodes are then joined, the graph has
words that no page has, and each query that meets one of them fails.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["QUERIES", "has_wrong_words", "unanswered", "words_of"]

# What users type into the search box. The title of a section answers each of them.
QUERIES = (
    "background class",
    "early stopping",
    "false alarm",
    "live microphone",
    "microcontroller",
    "NaN",
    "save a model",
    "silence",
)

_TAG = re.compile(r"<[^>]*>")


class _Node:
    def __init__(self, identifier: int) -> None:
        self.identifier = identifier
        self.is_final = False
        self.edges: dict[str, _Node] = {}

    def key(self) -> str:
        """The key of the search."""
        return self.exact_key().replace("\n", "")

    def exact_key(self) -> str:
        """A key that differs between nodes that differ."""
        edges = (f"{label}\n{node.identifier}" for label, node in sorted(self.edges.items()))
        return "\n".join(["1" if self.is_final else "0", *edges])


def words_of(docs: Iterable[Mapping[str, str]], separator: str) -> set[str]:
    """The words of the sections of a search index, as the search splits them."""
    texts = (_TAG.sub(" ", f"{doc['title']} {doc['text']}").lower() for doc in docs)
    return {word for text in texts for word in re.split(separator, text, flags=re.ASCII) if word}


def unanswered(docs: Iterable[Mapping[str, str]], separator: str) -> list[str]:
    """The queries whose words are not in the title of any section, at the start of a word.

    Example:
        >>> docs = [{"title": "Save models", "text": "Early stopping of silence"}]
        >>> [query for query in QUERIES if query not in unanswered(docs, " ")]
        ['save a model']
    """
    titles = [words_of([{"title": doc["title"], "text": ""}], separator) for doc in docs]

    def is_answered(query: str) -> bool:
        parts = [part for part in query.lower().split() if part != "a"]
        return any(
            all(any(word.startswith(part) for word in title) for part in parts) for title in titles
        )

    return [query for query in QUERIES if not is_answered(query)]


def has_wrong_words(words: Iterable[str]) -> bool:
    """Whether the graph of words that the search makes has other words than these.

    Example:
        >>> has_wrong_words(["spike", "spikes", "surrogate"])
        False
    """
    count = 1
    known: dict[str, str] = {}
    nodes: dict[str, _Node] = {}
    path: list[_Node] = [_Node(count)]
    previous = ""
    for word in [*sorted(words), ""]:
        shared = _shared_letters(previous, word)
        for index in range(len(previous), shared, -1):
            node = path.pop()
            key = node.key()
            if known.setdefault(key, node.exact_key()) != node.exact_key():
                return True
            path[-1].edges[previous[index - 1]] = nodes.setdefault(key, node)
        for letter in word[shared:]:
            count += 1
            path[-1].edges[letter] = _Node(count)
            path.append(path[-1].edges[letter])
        path[-1].is_final = bool(word)
        previous = word
    return False


def _shared_letters(first: Sequence[str], second: Sequence[str]) -> int:
    """How many letters two words share from the start."""
    pairs = zip(first, second, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))
