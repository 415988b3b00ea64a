"""train: packs become a trained model, by any objective, on a CPU, a GPU, or many under ZeRO-3.

Reads an objective's rows, and the model and tokenizer it starts from. Writes below the run's directory: tokenizer/,
packs/, reference/ (objectives with a reference), metrics.jsonl, checkpoints/ (while training) and model/, an ordinary
Hugging Face folder. Never touches the network except to fetch a model by hub id and, if asked, to report to W&B.
"""

import os


def limit_spinning() -> None:
    """Let torch's threads spin briefly while they wait for each other, then sleep. Call before torch is imported."""
    # By default the threads spin without end. On a busy machine with two cores a step of the miniature then took 1.7 s,
    # but 0.4 s when waiting threads slept. On an idle machine, sleeping at once costs a third of the speed (8.2k
    # against 12.9k target tokens per second); spinning briefly before sleeping keeps 97% of it.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
