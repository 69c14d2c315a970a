"""Whether fluctuation-driven first weights help the net of plain layers: rates and accuracy.

    python -m research.first_weights [--epochs N] [--seeds N]

The preset `lif` learns the built-in spoken digits twice per seed: from its own first weights, and
from those of `fluct_init` on the first batch. The table is printed as Markdown; accuracy is that on
the validation set, after the first and the last epoch.
"""

import argparse

import torch
from torch import Tensor, nn

from nwavesdk.data import Series
from nwavesdk.init import fluct_init
from nwavesdk.net import record
from nwavesdk.net.preparation import prepared
from nwavesdk.optim import weight_decay_groups
from nwavesdk.train import RunConfig
from nwavesdk.train.learner import lengths_of
from nwavesdk.train.net_file import network_of_run
from nwavesdk.train.run_data import RunData, load_run_data
from nwavesdk.train.tasks import TrainingTask, task_of

BATCH = 64


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    config, data = load_run_data(RunConfig.of({"net": {"preset": "lif"}}))
    print("| first weights | seed | rates of layers before | after | first epoch | last epoch |")
    print("|---|---|---|---|---|---|")
    for seed in range(options.seeds):
        for is_driven in (False, True):
            row = study(config, data, seed, options.epochs, is_driven=is_driven)
            print(f"| {'fluct_init' if is_driven else 'preset'} | {seed} | {' | '.join(row)} |")


def study(
    config: RunConfig, data: RunData, seed: int, epochs: int, *, is_driven: bool
) -> list[str]:
    """Rates before and after, and accuracy after the first and the last epoch, as texts."""
    assert config.facts is not None
    torch.manual_seed(seed)
    net = network_of_run(config, config.facts)
    task = task_of(config)
    if is_driven:
        fluct_init(net, data.train.batch(torch.arange(BATCH).numpy()).x, seed=seed)
    before = rates(net, data.val)
    scores = train(net, task, data, config, epochs)
    return [before, rates(net, data.val), f"{scores[0]:.1%}", f"{scores[-1]:.1%}"]


def train(
    net: nn.Module, task: TrainingTask, data: RunData, config: RunConfig, epochs: int
) -> list[float]:
    """AdamW with one cycle, as `nwave train`; accuracy on the validation set after each epoch."""
    learning = config.learning
    groups = weight_decay_groups(net, learning.weight_decay)
    optimizer = torch.optim.AdamW(groups, learning.rate)
    n_batches = len(data.train) // BATCH
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning.rate, total_steps=epochs * n_batches, pct_start=learning.warmup
    )
    scores = []
    for _ in range(epochs):
        net.train()
        order = torch.randperm(len(data.train))[: n_batches * BATCH]
        for chosen in torch.split(order, BATCH):
            batch = data.train.batch(chosen.numpy())
            loss = task.loss(outputs(net, task, batch.x, lengths_of(batch)), batch.y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
            optimizer.step()
            cycle.step()
        scores.append(accuracy(net.eval(), task, data.val))
    return scores


def outputs(net: nn.Module, task: TrainingTask, x: Tensor, lengths: Tensor | None) -> Tensor:
    """The logits of a batch."""
    decoder = task.decoder()
    with prepared(net), prepared(decoder):
        recording = record(net, x, lengths=lengths)
        logits: Tensor = decoder(recording.spk, recording.mem, lengths)
    return logits


@torch.no_grad()
def accuracy(net: nn.Module, task: TrainingTask, series: Series) -> float:
    """The share of right decisions."""
    batch = series.batch(torch.arange(len(series)).numpy())
    decided = task.predict(outputs(net, task, batch.x, lengths_of(batch)))
    return float((decided == batch.y).double().mean())


@torch.no_grad()
def rates(net: nn.Module, series: Series) -> str:
    """Spikes per step and neuron of each layer, by depth."""
    net.eval()
    batch = series.batch(torch.arange(BATCH).numpy())
    with prepared(net):
        recording = record(net, batch.x, lengths=lengths_of(batch))
    return ", ".join(f"{rate:.2f}" for rate in recording.rates().values())


if __name__ == "__main__":
    main()
