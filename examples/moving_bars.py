"""A small convolutional spiking net learns which way a bar moves, and then watches live.

Run: python examples/moving_bars.py

Each recording has 16 frames of 12 x 12 pixels: a bar that moves left, right, up or down, in noise.
One frame does not show the direction, so the first convolution is over time, too.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nwavesdk.layers import LIFLayer, SpikingSequential, TemporalConv
from nwavesdk.net import streaming

DIRECTIONS = ["left", "right", "up", "down"]
FRAMES = 16
SIZE = 12
NOISE = 0.1
BATCHES = 50
BATCH = 32


def draw_batch(size: int) -> tuple[Tensor, Tensor]:
    """Return frames [B, T, 1, H, W] of 0 and 1, and the numbers of their directions [B]."""
    direction = torch.randint(4, (size,))
    start = torch.randint(SIZE, (size,))
    step = torch.where(direction % 2 == 0, -1, 1)
    # The place of the bar in each frame; it comes in again on the other side.
    position = (start[:, None] + step[:, None] * torch.arange(FRAMES)) % SIZE
    columns = nn.functional.one_hot(position, SIZE)[:, :, None, :].expand(-1, -1, SIZE, -1)
    is_horizontal = (direction < 2)[:, None, None, None]
    frames = torch.where(is_horizontal, columns, columns.transpose(2, 3)).bool()
    noise = torch.rand(frames.shape) < NOISE
    return (frames ^ noise).float()[:, :, None], direction


def build() -> SpikingSequential:
    """Build a net from frames to four membranes: two spiking layers of images, and a read-out."""
    dt = 10e-3
    return SpikingSequential(
        TemporalConv(1, 8, taps=3, kernel=(3, 3), padding=1),
        LIFLayer((8, SIZE, SIZE), taus=20e-3, dt=dt),
        nn.MaxPool2d(2),
        TemporalConv(8, 16, taps=2, kernel=(3, 3), padding=1),
        LIFLayer((16, SIZE // 2, SIZE // 2), taus=20e-3, dt=dt),
        nn.AvgPool2d(3),
        nn.Flatten(),
        nn.Linear(16 * 4, 4),
        LIFLayer(4, taus=100e-3, reset_mechanism="none", dt=dt),
    )


def train(net: SpikingSequential) -> None:
    """Train on new recordings in every step."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, BATCHES)
    for _ in range(BATCHES):
        frames, direction = draw_batch(BATCH)
        _, mem = net(frames)
        loss = cross_entropy(mem.mean(1), direction)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()


@torch.no_grad()
def follow(net: SpikingSequential, frames: Tensor, direction: str) -> None:
    """Print what the net predicts after each frame [1, H, W] of a recording."""
    total = torch.zeros(4)
    with streaming(net):
        for frame in frames:
            _, mem = net.step(frame[None])
            total += mem[0]
            print(DIRECTIONS[int(total.argmax())], end=" ")
    print("| it moves", direction)


@torch.no_grad()
def main() -> None:
    """Train, follow one new recording frame by frame, and test on many."""
    torch.manual_seed(0)
    net = build()
    with torch.enable_grad():
        train(net)
    frames, direction = draw_batch(256)
    follow(net, frames[0], DIRECTIONS[int(direction[0])])
    recording = net.record(frames)
    accuracy = (recording.mem.mean(1).argmax(1) == direction).float().mean()
    for name, layer in list(recording.layers.items())[:2]:
        print(f"layer {name}: {layer.spk.mean():.3f} spikes per step and neuron")
    print(f"accuracy: {accuracy:.3f}")


if __name__ == "__main__":
    main()
