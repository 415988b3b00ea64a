"""train: packs become a trained model, by any objective, on a CPU, a GPU, or many under ZeRO-3.

Reads an objective's rows, and the model and tokenizer it starts from. Writes below the run's directory: tokenizer/,
packs/, reference/ (objectives with a reference), metrics.jsonl, checkpoints/ (while training) and model/, an ordinary
Hugging Face folder. Never touches the network but to fetch a model by hub id and, if asked, to report to W&B.
"""

import os


def limit_spinning() -> None:
    """Let torch's threads wait for each other briefly awake, then asleep. Has an effect before torch is imported."""
    # Read once, when torch loads its threads. By default they spin without end while they wait for each other: on a
    # busy machine a miniature's step then took 1.7 s on two cores, and 0.4 s asleep. On a quiet one sleeping costs
    # a third of the speed (8.2k against 12.9k target tokens a second); spinning briefly keeps 97% of it.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
