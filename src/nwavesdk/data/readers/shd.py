"""HDF5 files in the format of the Spiking Heidelberg Digits and the Spiking Speech Commands.

A file has the variable-length arrays `spikes/times` [s] and `spikes/units` (channels), `labels`
and, if known, `extra/keys` (names of the classes) and `extra/speaker`. Recordings are read one by
one, in the process of `isolation`.

References:
    Cramer, Stradmann, Schemmel and Zenke 2022, The Heidelberg spiking data sets, IEEE Transactions
    on Neural Networks and Learning Systems 33(7), doi:10.1109/TNNLS.2020.3044364.
"""

from pathlib import Path

import numpy as np

from nwavesdk.data.readers.events import gather_events
from nwavesdk.data.readers.isolation import decode
from nwavesdk.data.reading import Array, digest_of, reading
from nwavesdk.data.source import Item, Source, name_classes
from nwavesdk.internal.imports import require

__all__ = ["SHD_CHANNELS", "open_shd"]

SHD_CHANNELS = 700

FORM = "HDF5 with labels, spikes/times and spikes/units, as the Heidelberg Digits have it"


def open_shd(path: Path) -> Source:
    """The recordings of a file such as shd_train.h5.

    Speakers are groups. Times are seconds if they are floats, and microseconds if they are
    integers; events are sorted by time.

    Args:
        path: The file.

    Raises:
        FileError: If the file does not exist or cannot be opened.
        RecordingError: If it is damaged or has another format.
        ModuleNotFoundError: If the extra `events` is not installed.
    """
    require("h5py", "events")
    counts = ["spikes/times#", "spikes/units#"]
    arrays = decode(path, "hdf5", names=["labels", "extra/speaker", "extra/keys", *counts])
    with reading(path, FORM):
        labels = arrays["labels"]
        names = [name.decode() for name in arrays.get("extra/keys", labels[:0]).tolist()]
        speakers = list(map(str, arrays.get("extra/speaker", labels[:0])))
        sizes = {int(arrays[count]) for count in counts} | {len(speakers) or len(labels)}

        # A header may claim any number of labels, but a recording takes at least one byte.
        is_list = labels.ndim == 1 and 0 < len(labels) <= path.stat().st_size
        is_label = labels.dtype.kind in "iu" and labels.min() >= 0
        if not is_list or not is_label or sizes != {len(labels)}:
            raise ValueError(
                f"labels of {labels.dtype} {list(labels.shape)}, expected a whole number for each "
                "recording, and as many spikes/times, spikes/units and extra/speaker"
            )
        name_of = name_classes(labels.tolist(), names)

    return Source(
        kind="events",
        task="classification",
        items=tuple(
            Item(
                str(index),
                path,
                class_name=name_of[label],
                group=speakers[index] if speakers else None,
                index=index,
            )
            for index, label in enumerate(labels.tolist())
        ),
        read=lambda item: gather_events(path / str(item.index), _columns_of(item), (SHD_CHANNELS,)),
        digest=lambda item: digest_of(str(item.class_name), *_columns_of(item).values()),
        classes=tuple(name_of.values()),
        shape=(SHD_CHANNELS,),
    )


def _columns_of(item: Item) -> dict[str, Array]:
    """The events of a recording in the order of times, with the fields t and x."""
    names = ["spikes/times", "spikes/units"]
    arrays = decode(item.path, "hdf5", names=names, index=item.index)
    with reading(item.path, FORM):
        times, units = (arrays[name] for name in names)
        # Events of one time keep their order. Arrays of different lengths are an error here.
        order = np.lexsort((np.arange(len(units)), times))
        return {"t": times[order], "x": units[order]}
