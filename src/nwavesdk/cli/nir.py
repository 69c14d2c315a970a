"""`nwave import`, `nwave nir check` and `nwave export --nir`: nets as NIR graphs."""

from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import nwavesdk
from nwavesdk.cli.app import (
    Json,
    NetFile,
    app,
    check_combinations,
    checked_option,
    folder_option,
    print_report,
    split_commas,
    step_shape,
)
from nwavesdk.cli.step import check_json, open_net, write_export
from nwavesdk.internal.files import FileError, printable, write_atomically

__all__ = ["Allow", "Discretization", "check_nir", "export_nir", "import_nir"]

Discretization = Literal["exact", "euler"]

GraphFile = Annotated[Path, typer.Argument(metavar="FILE", help="A NIR graph, as of nir.write.")]
Step = Annotated[float, typer.Option("--dt", min=1e-12, max=1e6, help="Length of a step [s].")]
Solved = Annotated[
    Discretization, typer.Option("--discretization", help="How the equations are solved.")
]
SourceOption = Annotated[
    Literal["norse", "rockpool", "sinabs", "snntorch", "spikingjelly"] | None,
    typer.Option(
        "--source", help="The library that wrote FILE, if its conventions differ from NIR."
    ),
]
Allow = Annotated[
    str | None,
    typer.Option(
        "--allow",
        metavar="NAME[,NAME]",
        help="Extensions of NIR: soft-reset (a spike subtracts the threshold), and for "
        "--source snntorch also delayed-reset (one step later).",
    ),
]

PAGE_NAME, GRAPH_NAME = "net.py", "net.nir"

# The page is code, so no name and no text from the graph may be in it.
PAGE = '''"""A net that `nwave import` has read from a NIR graph.

`nwave train --net {page}:build` trains it, with the weights of the graph as initial ones. The file
{graph} belongs next to this page.
"""

from hashlib import sha256
from pathlib import Path

from torch import nn

from nwavesdk.interop.nir import from_nir
from nwavesdk.surrogate import parse
from nwavesdk.train import RunConfig

GRAPH = Path(__file__).with_name("{graph}")
SHA256 = "{sha256}"


def build(inputs: tuple[int, ...], classes: int, config: RunConfig) -> nn.Module:
    """Build the net; the graph decides inputs and outputs."""
    if sha256(GRAPH.read_bytes()).hexdigest() != SHA256:
        raise ValueError(f"{{GRAPH}} has changed: restore it, or import the graph again.")
    return from_nir(
        GRAPH,
        dt={dt!r},
        discretization={discretization!r},
        source={source!r},
        allow={allow!r},
        spike_grad=parse(config.net.surrogate),
        input_shape={input_shape!r},
    )
'''


@app.command("import")
def import_nir(
    file: GraphFile,
    dt: Step,
    discretization: Solved,
    source: SourceOption = None,
    allow: Allow = None,
    input_shape: Annotated[
        str | None,
        typer.Option(
            metavar="N[,N…]",
            help="Shape of a step of the input, as in 2,34,34, for a FILE without it.",
        ),
    ] = None,
    out: Annotated[
        Path | None, folder_option("Write net.py and net.nir, for `nwave train --net DIR/net.py`.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Import a NIR graph: print its layers and every assumption; write a page to train it."""
    options: dict[str, Any] = {
        "dt": dt,
        "discretization": discretization,
        "source": source,
        "allow": _allowed(allow),
        "input_shape": None if input_shape is None else step_shape("--input-shape", input_shape),
    }
    loaded = nwavesdk.interop.nir.import_graph(file, **options)
    result = nwavesdk.interop.nir.check(file, **options)

    page = None if out is None else _write_page(out, file, options)
    report = {
        "file": file,
        "layers": {name: type(module).__name__ for name, module in loaded.net.named_children()},
        "parameters": sum(parameter.numel() for parameter in loaded.net.parameters()),
        "notes": loaded.notes,
        "check": check_json(result),
        "page": page,
    }
    lines = str(loaded.net).splitlines()
    lines += (
        loaded.net.connections()
        if isinstance(loaded.net, nwavesdk.interop.nir.SpikingGraph)
        else []
    )
    lines += [*loaded.notes, f"against a reader that shares no code, on random input: {result}"]
    if page is not None:
        lines.append(f"written to {page} and {GRAPH_NAME}: nwave train --net {page}:build")
    print_report(as_json, report, lines)
    raise typer.Exit(0 if result.is_equal else 1)


def _allowed(allow: str | None) -> list[str]:
    return [] if allow is None else split_commas("--allow", allow)


def _write_page(folder: Path, file: Path, options: dict[str, Any]) -> Path:
    """Write the page that builds the net of a graph, and the graph next to it; return the page.

    Raises:
        FileError: If the folder has one of them.
    """
    graph, page = folder / GRAPH_NAME, folder / PAGE_NAME
    if page.exists() or graph.exists():
        problem = f"has a file {PAGE_NAME} or {GRAPH_NAME}"
        raise FileError(folder, problem, "choose another folder for --out")

    content = file.read_bytes()
    digest = sha256(content).hexdigest()
    text = PAGE.format(page=PAGE_NAME, graph=GRAPH_NAME, sha256=digest, **options)
    write_atomically(graph, content)
    write_atomically(page, text.encode())
    return page


@app.command("nir")
@check_combinations(["--against", "--seed"], needs={"--net": "--against"})
def check_nir(
    _action: Annotated[
        Literal["check"], typer.Argument(metavar="check", help="The only action so far.")
    ],
    file: GraphFile,
    dt: Step,
    discretization: Solved,
    source: SourceOption = None,
    allow: Allow = None,
    against: Annotated[
        Path | None,
        checked_option(
            metavar="RUN",
            help="Compare the trained net of a run, on recordings of its validation set. [the net "
            "that `nwave import` makes, on random input]",
        ),
    ] = None,
    recordings: Annotated[
        int, typer.Option(min=1, max=100_000, help="Recordings of the comparison.")
    ] = 8,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**32 - 1, help="Seed of random input; not with --against. [default: 0]"
        ),
    ] = None,
    net: NetFile = None,
    as_json: Json = False,
) -> None:
    """Replay a NIR graph with an independent reader; exit code 1 if a spike differs.

    `nwave nir check FILE --dt 1e-3 --discretization exact --against RUN`
    """
    # Random input, or recordings of the run and its net.
    comparison: dict[str, Any] = {"batch": recordings, "seed": seed or 0}
    basis = f"random input, seed {comparison['seed']}"
    if against is not None:
        model, x = _validation_input(against, net, recordings)
        comparison = {"net": model, "x": x}
        recordings = len(x)
        basis = f"{recordings} recordings of the validation set of {against}"

    result = nwavesdk.interop.nir.check(
        file,
        dt=dt,
        discretization=discretization,
        source=source,
        allow=_allowed(allow),
        **comparison,
    )

    report = {
        "file": file,
        "against": against,
        "recordings": recordings,
        "notes": result.notes,
        **check_json(result),
    }
    print_report(as_json, report, [*result.notes, f"{basis}: {result}"])
    raise typer.Exit(0 if result.is_equal else 1)


def _validation_input(run: Path, net: str | None, recordings: int) -> tuple[Any, Any]:
    """The trained net of a run, and the first recordings of its validation set, [B, T, *inputs]."""
    import numpy as np

    _, model, shape = open_net(run, net)
    validation = nwavesdk.train.Run.open(run, net).data.val
    x = validation.take(np.arange(min(recordings, len(validation)))).whole().x.to_dense()
    return model, x.reshape(*x.shape[:2], *shape)


def export_nir(
    run: Path,
    net: str | None,
    out: Path,
    discretization: Discretization | None,
    allow: str | None,
    as_json: bool,
) -> None:
    """Write the net of a run as a NIR graph, after its spikes were compared with a reader's.

    Raises:
        ValueError: If the net has something that NIR does not have.
        RuntimeError: If a spike differs. Nothing is written then.
    """
    from nwavesdk.interop import nir

    if discretization is None:
        raise ValueError(
            f"--nir: {printable(out)} needs --discretization, because NIR does not say how its "
            "equations are solved: pass exact or euler, as the reader of the file will solve them."
        )

    trained, model, shape = open_net(run, net)
    options: dict[str, Any] = {
        "dt": trained.config.net.dt,
        "discretization": discretization,
        "allow": _allowed(allow),
    }
    exported = nir.export_net(model, input_shape=shape, **options)
    result = nir.check(exported.graph, net=model, **options)

    facts = {
        "dt": trained.config.net.dt,
        "discretization": discretization,
        "look_ahead": trained.input.look_ahead,
        "notes": exported.notes,
    }
    lines = [f"for readers that solve it as {discretization}", *exported.notes]
    # It writes nothing and raises if a spike differs.
    write_export(out, nir.graph_bytes(exported.graph), result, trained, facts, lines, as_json)
