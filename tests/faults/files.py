"""Cases of files: each file that the world holds, damaged or replaced, and each command that reads.

Files are found by walking the folders, so that a new file of a run is covered without being named.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from faults.mutations import byte_damage, damage_of
from faults.options import base_words
from faults.outcome import Case
from faults.places import LINK_TARGETS, PLACES, replace
from faults.world import World, file_kinds

__all__ = ["byte_cases", "folder_cases", "place_cases", "undamaged_cases", "value_cases"]


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
_TRAIN = "--epochs", "1", "--net", "lif", "--hidden", "4", "--population", "1"
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


def _graph_readers() -> list[Reader]:
    options = "graph.nir", "--dt", "0.001", "--discretization", "exact"
    return [Reader(("import", *options, "--json")), Reader(("nir", "check", *options))]


def subjects(world: World) -> dict[str, list[Reader]]:
    """The parts of the world, and the commands that read them."""
    study = ["study" if word == "new" else word for word in base_words(world, "compare")]
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
        "search": [
            Reader(("tune", "search/search.toml", "--out", "search"), may_write=True),
            Reader(("tune", "--out", "search", "--resume", "--json"), may_write=True),
        ],
        "tones": [
            Reader(("data", "tones", *_DATA, "--json")),
            Reader(("data", "tones", *_DATA_CHIP)),
            Reader(("predict", str(world / "run"), "tones")),
            Reader(("train", "--out", "new", "--data", "tones", *_TRAIN, "--bands", "4")),
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
            Reader(
                (
                    "data",
                    str(world / "tones"),
                    "--chip",
                    "profile.toml",
                    *_DATA,
                    "--duration",
                    "0.2",
                )
            ),
        ],
        "crossover.toml": [
            Reader(("info",), {"NWAVESDK_CROSSOVER": "crossover.toml"}),
            Reader(("tune-kernels", "--out", "crossover.toml")),
        ],
        "cache": [
            Reader(
                ("data", str(world / "tones"), *_DATA_CHIP, "--json"), {"NWAVESDK_CACHE": "cache"}
            )
        ],
    }


# Files that carry a checksum: damage is found, or has no effect.
SEALED = (".safetensors", "result.json", "test.json")
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


def undamaged_cases(world: World, seed: int) -> Iterator[Case]:
    """Each command that reads, without damage: it must succeed, or the other cases try nothing."""
    del seed
    for name, readers in subjects(world).items():
        for reader in readers:
            words = " ".join(reader.words)
            copy = world.copies(name)
            yield Case(
                f"undamaged/{name}/{words}",
                reader.words,
                copy,
                variables=reader.variables,
                must_succeed=True,
            )


def byte_cases(world: World, seed: int) -> Iterator[Case]:
    """Damaged bytes in each file."""
    for name, readers in subjects(world).items():
        for file in _files(world, name):
            content = (world / str(file)).read_bytes()
            n_places = 1 if _is_write_only(file) else 24
            labels = [label for label, _ in byte_damage(content, f"{seed}/{file}", n_places)]
            if _is_write_only(file):
                labels = labels[:2]
            for reader in readers:
                for label in labels:
                    write = _writer(world, file, f"{seed}/{file}", label, n_places, of_bytes=True)
                    yield _case(world, "bytes", name, file, reader, label, write)


def value_cases(world: World, seed: int) -> Iterator[Case]:
    """Damaged values and tensors in each file whose format we know."""
    for name, readers in subjects(world).items():
        for file in _files(world, name):
            if _is_write_only(file):
                continue
            content = (world / str(file)).read_bytes()
            labels = [label for label, _ in damage_of(file, content, f"{seed}/{file}")]
            for reader in readers:
                for label in labels:
                    write = _writer(world, file, f"{seed}/{file}", label, 0, of_bytes=False)
                    must_fail = _is_wrong(file, reader, label)
                    yield _case(world, "values", name, file, reader, label, write, must_fail)
    yield from _other_runs(world)


# Damage to a tensor that no reader may accept.
WRONG_TENSORS = (
    *("nan", "inf", "all-nan", "all-inf", "missing", "renamed", "longer", "nothing"),
    *("float64", "float16", "bfloat16", "int64", "int8", "bool"),
)
# Commands that use the weights of a finished run or an export.
USES_WEIGHTS = {
    *("eval", "predict", "check", "map", "export", "chips", "diagnose", "slopes", "load_export"),
}


def _is_wrong(file: Path, reader: Reader, label: str) -> bool:
    """Whether a reader must reject damage to the weights, although the seal fits."""
    tensor, _, damage = label.rpartition(":")
    if file.suffix == ".safetensors" and reader.words[0] in USES_WEIGHTS:
        return not tensor.startswith(("texts", "standard")) and damage in WRONG_TENSORS
    if file == Path("half/checkpoint.ckpt") and tensor.startswith("state_dict."):
        return damage.removeprefix("tensor-") in WRONG_TENSORS
    return False


def _other_runs(world: World) -> Iterator[Case]:
    """Files of one run in the place of those of another."""
    for name in ("run", "chip", "half"):
        for other in sorted({"run", "chip", "half"} - {name}):
            for file in _files(world, name):
                source = world / other / file.name
                if _is_write_only(file) or not source.is_file() or len(file.parts) != 2:
                    continue

                def write(folder: Path, file: Path = file, source: Path = source) -> None:
                    (folder / file).write_bytes(source.read_bytes())

                is_model = file.name == "model.safetensors"
                is_checkpoint = name == "half" and other == "chip" and file.suffix == ".ckpt"
                for reader in subjects(world)[name]:
                    is_used = is_model and reader.words[0] in USES_WEIGHTS
                    must_fail = is_used or is_checkpoint
                    label = f"of-{other}"
                    yield _case(world, "values", name, file, reader, label, write, must_fail)


def place_cases(world: World, seed: int) -> Iterator[Case]:
    """Something else in the place of each file, and of each folder."""
    del seed
    for name, readers in subjects(world).items():
        files = _files(world, name)
        folders = {folder for file in files for folder in file.parents if folder.name}
        for file in [*files, *sorted(folders)]:
            kinds = ["folder", "missing"] if _is_write_only(file) else _kinds()
            for reader in readers:
                for kind in kinds:

                    def write(folder: Path, file: Path = file, kind: str = kind) -> None:
                        replace(folder / file, kind)

                    yield _case(world, "places", name, file, reader, kind, write)


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


def folder_cases(world: World, seed: int) -> Iterator[Case]:
    """Data folders with odd names, links, loops and things that are not recordings."""
    del seed
    for name in ("tones", "regression"):
        inner = {"tones": "high", "regression": "wavs"}[name]
        changes: dict[str, Callable[[Path], None]] = {
            "loop": lambda folder: (folder / "loop").symlink_to(folder),
            "loop-inside": lambda folder, inner=inner: (folder / inner / "up").symlink_to(".."),
            "empty-class": lambda folder: (folder / "empty").mkdir(),
            "deep": lambda folder: Path(folder, *["d" * 20] * 20).mkdir(parents=True),
            "only-links": lambda folder, inner=inner: _links(folder / inner),
            "class-link": lambda folder, inner=inner: _move_and_link(folder / inner),
            "link-twice": lambda folder, inner=inner: _link_twice(folder / inner),
        }
        for label, odd in ODD_NAMES.items():

            def rename(folder: Path, odd: str = odd, inner: str = inner) -> None:
                os.rename(folder / inner / "0.wav", folder / inner / f"{odd}.wav")

            def rename_class(folder: Path, odd: str = odd, inner: str = inner) -> None:
                os.rename(folder / inner, folder / odd)

            changes |= {f"wav-called-{label}": rename, f"class-called-{label}": rename_class}
        for kind in _kinds():

            def add(folder: Path, kind: str = kind, inner: str = inner) -> None:
                PLACES[kind].make(folder / inner / "new.wav")

            changes[f"new-wav-{kind}"] = add
        for reader in subjects(world)[name]:
            for label, change in changes.items():

                def write(folder: Path, name: str = name, change: object = change) -> None:
                    change(folder / name)  # type: ignore[operator]

                yield _case(world, "folders", name, Path(name), reader, label, write)


def _links(folder: Path) -> None:
    """Keep the recordings elsewhere, as many people do, and link each of them."""
    kept = folder.parent.parent / "kept"
    kept.mkdir()
    for file in sorted(folder.iterdir()):
        os.rename(file, kept / file.name)
        file.symlink_to(kept / file.name)


def _move_and_link(folder: Path) -> None:
    kept = folder.parent.parent / "kept"
    os.rename(folder, kept)
    folder.symlink_to(kept)


def _link_twice(folder: Path) -> None:
    (folder / "again.wav").symlink_to("0.wav")


def _writer(
    world: World, file: Path, seed: str, label: str, n_places: int, *, of_bytes: bool
) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        content = (world / str(file)).read_bytes()
        damages = (
            byte_damage(content, seed, n_places) if of_bytes else damage_of(file, content, seed)
        )
        damaged = next(damaged for name, damaged in damages if name == label)
        (folder / file).write_bytes(damaged() if callable(damaged) else damaged)

    return write


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
    is_sealed = group == "bytes" and str(file).endswith(SEALED)
    return Case(
        name=f"{group}/{file}/{label}/{words}",
        words=reader.words,
        prepare=prepare,
        names=_names(name, file, label),
        variables=reader.variables,
        may_write=reader.may_write,
        must_fail=must_fail,
        undamaged=world.copies(name) if is_sealed else None,
    )


def _names(name: str, file: Path, label: str) -> tuple[str, ...]:
    """What an error may name: the file, a file in the folder, the damaged field."""
    fields = label.split(":")[0].split(".")
    if len(file.parts) == 1:
        return (name, *LINK_TARGETS)
    whole = (f"{name} is", f"{name} holds")
    return (file.name, *whole, *[field for field in fields if len(field) > 2], *_twins(name))


def _twins(name: str) -> tuple[str, ...]:
    # A damaged recording, or a damaged fingerprint, differs from the data, which an error may name.
    return (name,) if name == "regression" else ("tones",)
