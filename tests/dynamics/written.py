"""Pages from source texts, for tests that write them."""

import linecache
import types

import torch

from nwavesdk.dynamics import (
    Bounded,
    Page,
    Positive,
    Real,
    TimeConstant,
    decay,
    held,
    read_page,
    spike,
)


def written_function(source: str, **names):
    """The function that a source text defines; `names` are known to it besides torch and words."""
    file = f"<page {hash((source, *names.items()))}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    words = (Bounded, decay, held, spike)
    scope = {
        "torch": torch,
        **{word.__name__: word for word in words},
        **{"TimeConstant": TimeConstant, "Positive": Positive, "Real": Real},
        **names,
    }
    known = {*scope}
    exec(compile(source, file, "exec", dont_inherit=True), scope)
    (function,) = (
        value
        for name, value in scope.items()
        if name not in known and isinstance(value, types.FunctionType)
    )
    return function


def written_page(source: str, **names) -> Page:
    """The page that a source text defines."""
    return read_page(written_function(source, **names))
