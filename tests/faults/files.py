"""Cases of files: each file that the world holds, damaged or replaced, and each command that reads.

Files are found by walking the folders, so that a new file of a run is covered without being named.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from faults.mutations import byte_damage, damage_of
from faults.options import base_words
from faults.outcome import Case
from faults.places import LINK_TARGETS, PLACES, replace
from faults.world import SMALL_SETS, World, file_kinds

__all__ = ["damage_cases", "folder_cases", "place_cases", "undamaged_cases"]


@dataclass(frozen=True)
class Reader:
    """A command that reads a folder or a file.

    Attributes:
        words: The command line.
        variables: Further environment variables.
        may_write: Whether it may begin a run before it finds the damage.
    """

    words: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)
    may_write: bool = False


_RUN = "--recordings", "4", "--surrogates", "atan,fast_sigmoid", "--no-plot"
_TRAIN = "--epochs", "1", "--hidden", "4", "--population", "1"
_CHIP = "--sample-rate", "8000", "--duration", "0.2"
_DATA = "--no-plot", "--sample-rate", "8000"
_DATA_CHIP = *_DATA, "--chip", "h1v1", "--duration", "0.2"


def _readers(world: World, run: str) -> list[Reader]:
    return [
        Reader(("eval", run, "--json")),
        Reader(("diagnose", run, "--recordings", "4")),
        Reader(("slopes", run, *_RUN)),
        Reader(("predict", run, str(world / "tones"), "--json")),
        Reader(("train", "--out", run, "--resume", "--json"), may_write=True),
    ]


def _search_readers() -> list[Reader]:
    return [
        Reader(("tune", "search/search.toml", "--out", "search"), may_write=True),
        Reader(("tune", "search/tune.json", "--out", "search", "--json"), may_write=True),
    ]


def _graph_readers() -> list[Reader]:
    options = "graph.nir", "--dt", "0.001", "--discretization", "exact"
    return [Reader(("import", *options, "--json")), Reader(("nir", "check", *options))]


def subjects(world: World) -> dict[str, list[Reader]]:
    """The parts of the world, and the commands that read them."""
    study = ["study" if word == "new" else word for word in base_words(world, "compare")]
    tones = str(world / "tones")
    return {
        "run": _readers(world, "run"),
        "chip": [
            *_readers(world, "chip"),
            Reader(("check", "chip", "--json")),
            Reader(("map", "chip", "--no-plot")),
            Reader(("export", "chip", "--out", "out.safetensors")),
            Reader(("chips", "chip", "--n", "2", "--no-plot", "--json")),
        ],
        "half": [Reader(("train", "--out", "half", "--resume"), may_write=True)],
        "study": [Reader(("compare", *study), may_write=True)],
        "folds": [Reader(("train", "--out", "folds", "--resume", "--json"), may_write=True)],
        **({"search": _search_readers()} if find_spec("optuna") else {}),
        "tones": [
            Reader(("data", "tones", *_DATA, "--json")),
            Reader(("data", "tones", *_DATA_CHIP)),
            Reader(("predict", str(world / "run"), "tones")),
            Reader(
                (
                    "train",
                    "--out",
                    "new",
                    "--data",
                    "tones",
                    *_TRAIN,
                    "--net",
                    "lif",
                    "--bands",
                    "4",
                )
            ),
            Reader(("train", "--out", "new", "--data", "tones", "--chip", "h1v1", *_TRAIN, *_CHIP)),
        ],
        "regression": [
            Reader(("data", "regression", "--task", "regression", *_DATA)),
            Reader(("data", "regression", "--task", "regression", *_DATA, "--on-error", "skip")),
        ],
        "export.safetensors": [Reader(("load_export", "export.safetensors"))],
        **({"graph.nir": _graph_readers()} if find_spec("nir") else {}),
        "profile.toml": [
            Reader(("info", "--chip", "profile.toml")),
            Reader(("map", str(world / "chip"), "--chip", "profile.toml", "--no-plot")),
            Reader(("data", tones, *_DATA, "--chip", "profile.toml", "--duration", "0.2")),
        ],
        "cache": [
            Reader(("data", tones, *_DATA_CHIP, "--json"), {"NWAVESDK_CACHE": "cache"}),
        ],
        **{name: [Reader(("data", name, "--no-plot", "--json"))] for name in SMALL_SETS},
    }


# Files that no command reads get little damage.
WRITE_ONLY = (".png", ".html", ".yaml", ".log")


def _files(world: World, name: str) -> list[Path]:
    """Files of a part of the world, relative to the world, one of each kind."""
    path = world / name
    if path.is_file():
        return [Path(name)]
    # The second arm of a study has the files of the first.
    return [Path(name) / file for file in file_kinds(path) if not str(file).startswith("1-")]


def _is_write_only(file: Path) -> bool:
    return file.suffix in WRITE_ONLY or file.name.startswith("events.")


def undamaged_cases(world: World) -> Iterator[Case]:
    """Each command that reads, without damage: it must succeed, or the other cases try nothing."""
    for name, readers in subjects(world).items():
        for reader in readers:
            yield Case(
                f"undamaged/{name}/{' '.join(reader.words)}",
                reader.words,
                world.copies(name),
                variables=reader.variables,
                must_succeed=True,
            )


def damage_cases(world: World, seed: int, group: str) -> Iterator[Case]:
    """Damage in each file: of its `bytes`, or of its `values` if its format is known."""
    for name, readers in subjects(world).items():
        for file in _files(world, name):
            labels = list(_damages(world, file, seed, group))
            if _is_write_only(file):
                labels = labels[:2]
            for reader in readers:
                for label in labels:
                    write = partial(_write_damage, world, file, seed, group, label)
                    must_fail = group == "values" and _is_wrong(file, reader, label)
                    yield _case(world, group, name, file, reader, label, write, must_fail)


def _damages(world: World, file: Path, seed: int, group: str) -> dict[str, object]:
    content = (world / str(file)).read_bytes()
    if group == "bytes":
        return dict(byte_damage(content, f"{seed}/{file}"))
    return {} if _is_write_only(file) else dict(damage_of(file, content, f"{seed}/{file}"))


def _write_damage(
    world: World, file: Path, seed: int, group: str, label: str, folder: Path
) -> None:
    damaged = _damages(world, file, seed, group)[label]
    (folder / file).write_bytes(damaged() if callable(damaged) else damaged)  # type: ignore[arg-type]


# Damage to a tensor that no reader may accept.
WRONG_TENSORS = (
    *("nan", "inf", "all-nan", "all-inf", "missing", "longer", "nothing"),
    *("float64", "float16", "bfloat16", "int64", "int8", "bool"),
)
# Of these, what a run rejects: its files have a seal or are its own, so that a value in them is one
# that it has written.
WRONG_TENSORS_OF_A_RUN = ("missing", "longer", "nothing")
# Commands that use the weights of a finished run or an export.
USES_WEIGHTS = {
    *("eval", "predict", "check", "map", "export", "chips", "diagnose", "slopes", "load_export"),
}


def _is_wrong(file: Path, reader: Reader, label: str) -> bool:
    """Whether a reader must reject damage to the weights, although the seal fits."""
    tensor, _, damage = label.rpartition(":")
    if file.suffix == ".safetensors" and reader.words[0] in USES_WEIGHTS:
        is_weight = tensor.startswith("tensors.") and not tensor.startswith("tensors.standard")
        is_of_run = file.name == "model.safetensors"
        return is_weight and damage in (WRONG_TENSORS_OF_A_RUN if is_of_run else WRONG_TENSORS)
    is_state = str(file) == "half/checkpoint.ckpt" and tensor.startswith("state_dict.")
    return is_state and damage in WRONG_TENSORS_OF_A_RUN


def place_cases(world: World) -> Iterator[Case]:
    """Something else in the place of each file, and of each folder."""
    for name, readers in subjects(world).items():
        files = _files(world, name)
        folders = {folder for file in files for folder in file.parents if folder.name}
        for file in [*files, *sorted(folders)]:
            kinds = ["folder", "missing"] if _is_write_only(file) else _kinds()
            for reader in readers:
                for kind in kinds:
                    write = partial(_replace, file, kind)
                    yield _case(world, "places", name, file, reader, kind, write)


def _replace(file: Path, kind: str, folder: Path) -> None:
    replace(folder / file, kind)


def _kinds() -> list[str]:
    """Places that keep the name of the file."""
    apart = ("below", "not-utf8", "escape", "long", "dollar", "hyphen", "null")
    return [kind for kind in PLACES if not kind.startswith(apart)]


ODD_NAMES = {
    "not-utf8": "caf\udce9",
    "escape": "a\x1b[31m\nb\rc",
    "math": "$x_{$",
    "markup": "<script>alert(1)",
    "hidden": ".hidden",
    "long": "x" * 200,
    "blank": " ",
    "bidi": "\u202eabc",
    "percent": "%s{0}",
    "comma": "a,b",
}


def folder_cases(world: World) -> Iterator[Case]:
    """Data folders with odd names, links, loops and files that are not recordings."""
    for name, class_name in {"tones": "high", "regression": "wavs"}.items():
        for reader in subjects(world)[name]:
            for label, change in _folder_changes(class_name):
                write = partial(_change, name, change)
                yield _case(world, "folders", name, Path(name), reader, label, write)


def _change(name: str, change: Callable[[Path], None], folder: Path) -> None:
    change(folder / name)


def _folder_changes(name: str) -> Iterable[tuple[str, Callable[[Path], None]]]:
    """Changes of a data folder with the recordings of a class, or all of them, in `name`."""
    yield "loop", lambda folder: (folder / "loop").symlink_to(folder)
    yield "loop-inside", lambda folder: (folder / name / "up").symlink_to("..")
    yield "link-twice", lambda folder: (folder / name / "again.wav").symlink_to("0.wav")
    yield "empty-class", lambda folder: (folder / "empty").mkdir()
    yield "deep", lambda folder: Path(folder, *["d" * 20] * 20).mkdir(parents=True)
    yield "only-links", partial(_move_and_link, f"{name}/*")
    yield "class-link", partial(_move_and_link, name)
    for label, odd in ODD_NAMES.items():
        file = f"{odd}.wav"
        yield f"wav-called-{label}", partial(_rename, f"{name}/0.wav", f"{name}/{file}")
        yield f"class-called-{label}", partial(_rename, name, odd)
    for kind in _kinds():
        yield f"new-wav-{kind}", partial(_add, name, kind)


def _rename(old: str, new: str, folder: Path) -> None:
    os.rename(folder / old, folder / new)


def _add(name: str, kind: str, folder: Path) -> None:
    PLACES[kind].make(folder / name / "new.wav")


def _move_and_link(pattern: str, folder: Path) -> None:
    """Keep recordings or a class elsewhere, as many people do, and link them."""
    for path in sorted(folder.glob(pattern)):
        moved = folder.parent / f"moved-{path.name}"
        os.rename(path, moved)
        path.symlink_to(moved)


def _case(
    world: World,
    group: str,
    name: str,
    file: Path,
    reader: Reader,
    label: str,
    write: Callable[[Path], None],
    must_fail: bool = False,
) -> Case:
    def prepare(folder: Path) -> None:
        world.copies(name)(folder)
        write(folder)

    words = " ".join(word for word in reader.words if "/" not in word)
    return Case(
        name=f"{group}/{file}/{label}/{words}",
        words=reader.words,
        prepare=prepare,
        names=_names(name, file, label),
        variables=reader.variables,
        may_write=reader.may_write,
        must_fail=must_fail,
    )


def _names(name: str, file: Path, label: str) -> tuple[str, ...]:
    """What an error may name: the file, a file in the folder, the damaged field."""
    fields = label.split(":")[0].split(".")
    if len(file.parts) == 1:
        return (name, *LINK_TARGETS)
    whole = (f"{name} is", f"{name} holds", f"{name} has")
    return (file.name, *whole, *[field for field in fields if len(field) > 2], *_twins(name))


def _twins(name: str) -> tuple[str, ...]:
    # A damaged recording, or a damaged fingerprint, differs from the data, which an error may name.
    return (name,) if name == "regression" else ("tones",)
