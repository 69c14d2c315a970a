"""The wake-words of a manifest as a folder for `nwave train --data`.

    python -m benchmarks.wake_words wake-words.tar FOLDER
    nwave train --data FOLDER --split FOLDER/split.csv --out runs/wake-words

The manifest, `manifest.tsv`, has a line for each recording, with the columns `path`, `split`,
`group`. Recordings `words/<word>/…` move to `<word>/…`, and recordings of speech and noise to
`background/…`.
"""

import argparse
import csv
import tarfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main", "prepare", "target_of"]

# The folder of the words, and the files that stay at the top.
WORDS = "words/"
DESCRIPTIONS = ("README.md", "manifest.tsv")


def target_of(path: str) -> str:
    """The path of a recording in the folder, by its path in the manifest.

    Example:
        >>> target_of("words/alexa/1.ogg"), target_of("noise/rain/2.ogg")
        ('alexa/1.ogg', 'background/noise/rain/2.ogg')
    """
    return path.removeprefix(WORDS) if path.startswith(WORDS) else f"background/{path}"


def prepare(archive: Path, folder: Path) -> int:
    """Unpack an archive of wake words into a new folder, with the table `split.csv`.

    Args:
        archive: The tar file.
        folder: The new folder.

    Returns:
        The number of recordings.
    """
    folder.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            # The filters of tarfile, which reject other paths, begin with Python 3.11.4.
            target = member.name if member.name in DESCRIPTIONS else target_of(member.name)
            path = (folder / target).resolve()
            content = tar.extractfile(member)
            if content is not None and path.is_relative_to(folder.resolve()):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())

    with open(folder / "manifest.tsv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    with open(folder / "split.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "part", "group"])
        table.writerows([target_of(row["path"]), row["split"], row["group"]] for row in rows)
    return len(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with the arguments of the command line."""
    parser = argparse.ArgumentParser(description="Unpack wake words for nwave train.")
    parser.add_argument("archive", type=Path, help="wake-words.tar")
    parser.add_argument("folder", type=Path, help="the new folder")
    options = parser.parse_args(arguments)
    count = prepare(options.archive, options.folder)
    print(f"{count:,} recordings in {options.folder}, their sets in {options.folder / 'split.csv'}")


if __name__ == "__main__":
    main()
