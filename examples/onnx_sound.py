"""The class of a sound from `net.onnx` alone, with NumPy and onnxruntime.

`nwave export RUN --onnx net.onnx` writes the file, which describes how its input is computed; see
`docs/export.md`. Run it in the folder of `net.onnx` and `a.wav`.
"""

import json

import numpy as np
import onnxruntime
import scipy.io.wavfile

session = onnxruntime.InferenceSession("net.onnx")
about = json.loads(session.get_modelmeta().custom_metadata_map["nwavesdk.json"])
features = about["features"]


def running_mean(powers, first_power, prior_frames, memory):
    """The mean power of each band in the frames so far, in which older frames count less."""
    decay, weight, means = np.exp(-1 / memory), prior_frames, []
    total = weight * first_power
    for power in powers:
        total, weight = decay * total + power, decay * weight + 1
        means.append(total / weight)
    return np.array(means)


def log_mel(sound, sample_rate, bands, window, hop, floor, level, level_memory=None, **running):
    """The frames of mono samples with full scale 1, [L, bands]."""
    if level == "peak":
        sound = sound / (np.abs(sound).max() or 1)
    width, step = round(window * sample_rate), round(hop * sample_rate)
    sound = np.pad(sound, (0, max(0, width - len(sound))))
    windows = np.lib.stride_tricks.sliding_window_view(sound, width)[::step]
    taper = np.hanning(width)
    power = np.abs(np.fft.rfft(windows * taper)) ** 2 / np.sum(taper**2)

    # Triangles between band edges that are evenly spaced in mel, [bands, width // 2 + 1].
    highest = 2595 * np.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, bands + 2) / 2595) - 1)
    low, center, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    frequencies = np.fft.rfftfreq(width, 1 / sample_rate)
    rising, falling = (frequencies - low) / (center - low), (high - frequencies) / (high - center)
    filters = np.clip(np.minimum(rising, falling), 0, None)
    for band in np.flatnonzero(filters.sum(axis=1) == 0):  # too narrow: the nearest frequency
        filters[band, np.abs(frequencies - center[band]).argmin()] = 1
    in_bands = power @ filters.T
    if level == "running":
        first, prior = running["first_power"], running["prior_frames"]
        mean = running_mean(in_bands, first, prior, level_memory / hop)
        in_bands /= np.maximum(mean, running["least_power"])
    return np.log(in_bands + floor)


rate, samples = scipy.io.wavfile.read("a.wav")
assert rate == features["sample_rate"]
sound = samples / 32768  # of 16 bits
frames = log_mel(sound, **features)[: about["length"]]

# The scale: of the training set, and where the run has it, of the recording.
mean, deviation = np.array(about["mean"]), np.array(about["deviation"])
if about["standardize"]:
    scale = frames.std(axis=0)
    scale[scale <= 1e-6 * np.abs(frames.mean(axis=0))] = 0  # constant but for rounding
    factor = np.sqrt(np.mean((scale / deviation) ** 2)) or 1
    least = about["least_change"] * np.sqrt(np.mean((1 / deviation) ** 2))
    deviation = deviation * max(factor, least)  # so that silence is not scaled up
if about["center"]:
    mean = frames.mean(axis=0)
x = np.repeat((frames - mean) / deviation, about["hold"], axis=0)
if about["pads_to_length"]:
    x = np.pad(x, ((0, about["length"] * about["hold"] - len(x)), (0, 0)))
x = np.pad(x, ((0, about["look_ahead"]), (0, 0))).astype(np.float32)[None]  # [1, T, F]

# One step after the other. The class has most spikes, or the largest score.
states = {}
for state in about["states"]:
    shape = [1, *state["shape"]] if state["has_batch"] else state["shape"]
    states[state["name"]] = np.full(shape, state["initial"], state["dtype"])
total = 0
for step in range(x.shape[1]):
    outputs = session.run(None, {"x": x[:, step], **states})
    states = dict(zip(states, outputs[len(about["outputs"]) :], strict=True))
    total = total + outputs[0]
print(about["classes"][total.reshape(len(about["classes"]), -1).sum(axis=1).argmax()])
