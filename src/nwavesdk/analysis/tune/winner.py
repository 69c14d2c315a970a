"""The winner of a search: its run with the test set, which no trial has read."""

from pathlib import Path

from nwavesdk.analysis.cells import open_cell
from nwavesdk.analysis.tune.study import Search, Trial
from nwavesdk.train import RunFolder
from nwavesdk.train.data.load import config_with_test
from nwavesdk.train.fit.checkpoint import AtomicCheckpointIO
from nwavesdk.train.run_folder import write_first

__all__ = ["finish_winner", "winner_folder"]


def winner_folder(search: Search) -> RunFolder:
    """The folder of the winner."""
    return RunFolder(search.path / "winner")


def finish_winner(search: Search, trial: Trial) -> RunFolder:
    """Test the best trial and write it as an ordinary run with its report.

    The run is that of the trial from its last checkpoint: it is not trained again.

    Returns:
        The folder of the run, `winner`.

    Raises:
        ValueError: If a file of the trial is damaged.
        BrokenRunError: See `Run.train`.
    """
    winner = winner_folder(search)
    if winner.complete:
        return winner
    config = RunFolder(trial.path).read_config()
    if winner.config.is_file():
        tested = winner.read_config()
    else:
        tested = config_with_test(config)
        write_first(winner.config, tested.json_text().encode())
    if not winner.checkpoint.is_file():
        of_trial = RunFolder(trial.path).checkpoint
        checkpoint = AtomicCheckpointIO(config.identity()).load_checkpoint(of_trial)
        AtomicCheckpointIO(tested.identity()).save_checkpoint(checkpoint, winner.checkpoint)
    open_cell(Path(winner.path), search.choices(search.values(trial))).train()
    return winner
