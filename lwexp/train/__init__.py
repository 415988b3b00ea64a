"""train: packs become a trained model. SFT or DPO, on a CPU, a GPU, or many under ZeRO-3.

Reads conversations or preference pairs, and the model and tokenizer it starts from. Writes below the run's
directory: tokenizer/, packs/, reference/ (DPO), metrics.jsonl, checkpoints/ (while training) and model/, an ordinary
Hugging Face folder. Never touches the network but to fetch a model by hub id and, if asked, to report to W&B.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lwexp.config.schema import Config
    from lwexp.records import Conversation, PreferencePair
    from lwexp.runs import RunDirectory
    from lwexp.runs.artifacts import TrainResults
    from lwexp.train.loop.probe import Ask
    from lwexp.train.parallel.rank_sync import Ranks
    from lwexp.train.planner.dry_run import Description

__all__ = ["describe_plan", "join_ranks", "preflight", "settle_hardware", "train_beside", "train_run"]


def settle_hardware(config: Config) -> Config:
    """Replace ``hardware=auto`` by what this machine has, and say what that is.

    Call it before anything else: a run's identity knows what it runs on, not that it was left open.
    """
    from lwexp.train.planner.hardware import settle_hardware as settle

    return settle(config)


def preflight(config: Config, start_from: Path | None = None) -> None:
    """Refuse, in seconds, a run that cannot work on this machine.

    Args:
        config: The whole config.
        start_from: Model folder to start from (DPO: of a finished SFT run).

    Raises:
        LwexpError: One line with everything that is missing: weights, devices, memory, keys.
    """
    from lwexp.train.planner.readiness import preflight as check

    check(config, start_from)


def describe_plan(
    config: Config,
    conversations: Sequence[Conversation] | None = None,
    pairs: Sequence[PreferencePair] | None = None,
    start_from: Path | None = None,
) -> Description:
    """What ``dry_run=true`` prints: tokens, packs, steps, hours, memory term by term, and which hardware holds it."""
    from lwexp.train.planner.dry_run import describe_plan as describe

    return describe(config, conversations, pairs, start_from)


def train_run(
    config: Config,
    run: RunDirectory,
    conversations: Sequence[Conversation] | None = None,
    pairs: Sequence[PreferencePair] | None = None,
    start_from: Path | None = None,
    ranks: Ranks | None = None,
    ask: Ask | None = None,
) -> TrainResults | None:
    """Train inside an open run, from the newest checkpoint if there is one, and export the model.

    Call ``preflight`` first, before the mixture is read and a run directory made; it is not repeated here.

    Args:
        config: The whole config.
        run: Open run directory; everything is written below it.
        conversations: The mixture, for SFT; None for DPO.
        pairs: The mixture, for DPO; None for SFT.
        start_from: Model folder to start from instead of ``config.model``; DPO needs one, and takes its tokenizer.
        ask: Answers the length probe's prompts with a plain model and its tokenizer; None asks nothing.
        ranks: The other processes of the run, which wait for this one; None where there are none.

    Returns:
        Results for the manifest: steps, final_loss, target_tokens, seconds, max_train_words, model (path). None if
        ``inspect_batch`` asked to look at packs and stop.

    Raises:
        LwexpError: For what the user can mend; a loss or gradient that is not finite, with the packs, included.
        Preempted: After SIGTERM, once the state is saved.
    """
    set_spinning()
    from lwexp.train.loop.run import train
    from lwexp.train.parallel.rank_sync import come_together

    return train(config, run, conversations, pairs, start_from, ranks or come_together(None), ask)


def join_ranks(config: Config) -> Ranks:
    """Meet the other processes of a run that has several; ``runs.launch`` or another launcher has started them.

    Returns:
        What rank 0 gives to ``train_run`` and the others to ``train_beside``. Call its ``leave`` at the end.
    """
    set_spinning()
    from lwexp.train.parallel.rank_sync import come_together
    from lwexp.train.planner.hardware import hardware_of

    return come_together(hardware_of(config) if config.inspect_batch is None else None)


def train_beside(ranks: Ranks) -> None:
    """Wait for rank 0 to say which run this is, then train along; for every rank but rank 0."""
    from lwexp.train.loop.run import train_beside as beside

    beside(ranks)


def set_spinning() -> None:
    """Let torch's threads wait for each other briefly awake, then asleep. Has an effect before torch is imported."""
    import os

    # Read once, when torch loads its threads. By default they spin without end while they wait for each other: on a
    # busy machine a miniature's step then took 1.7 s on two cores, and 0.4 s asleep. On a quiet one sleeping costs
    # a third of the speed (8.2k against 12.9k target tokens a second); spinning briefly keeps 97% of it.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
