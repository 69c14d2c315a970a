"""`benchmarks/wake_words.py`: its folder is one that a detector is trained on."""

import tarfile
from pathlib import Path

import pytest

pytest.importorskip("lightning")
pytest.importorskip("soundfile")

from benchmarks.wake_words import main
from nwavesdk.train import RunConfig
from nwavesdk.train.data.split import open_recordings
from train.event_folders import write_events


def test_an_archive_becomes_a_folder_with_background_and_a_table_of_sets(tmp_path: Path) -> None:
    folder = write_events(tmp_path / "recordings", events=3, background=3, seconds=1)
    lines = ["path\tsplit\tgroup\tlicence"]
    archive = tmp_path / "words.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sorted(folder.glob("**/*.wav")):
            name, _, rest = path.relative_to(folder).as_posix().partition("/")
            target = f"words/{name}/{rest}" if name != "background" else f"speech/{rest}"
            tar.add(path, target)
            lines.append(f"{target}\t{('train', 'val', 'test')[len(lines) % 3]}\tann\tCC0")
        manifest = tmp_path / "manifest.tsv"
        manifest.write_text("\n".join(lines))
        tar.add(manifest, "manifest.tsv")

    data = tmp_path / "data"
    main([str(archive), str(data)])
    config = RunConfig.of({"data": {"source": str(data), "split": str(data / "split.csv")}})
    source, _, note = open_recordings(config)
    assert (config.task.name, note) == ("detect", "")
    assert {(item.class_name, item.part) for item in source.items} == {
        (name, part) for name in ("background", "high", "low") for part in ("train", "val", "test")
    }
    assert {item.group for item in source.items} == {"ann"}
    assert (data / "background" / "speech" / "noise" / "0.wav").is_file()
