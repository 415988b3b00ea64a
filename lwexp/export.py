"""Export a training run as an ordinary Hugging Face folder: weights, tokenizer, chat template, stop ids, card.

    python -m lwexp.export run=newest                          the newest finished run, into <run>/export
    python -m lwexp.export run=runs/sft-glm4-1a2b3c4d out=longwriter-9b shard_size=2GB
    python -m lwexp.export run=sft-glm4 checkpoint=step-00000400      a checkpoint of a run that is not finished
    python -m lwexp.export run=newest push_to_hub=me/longwriter-9b    uploads too, into a private repository

run=          a run directory, a run's name or id, or newest; for an unfinished run, its newest complete checkpoint
root=         where runs live (runs)
out=          folder of the model (<run>/export)
checkpoint=   name of a folder in <run>/checkpoints
shard_size=   largest weights file, such as 500MB (5GB)
push_to_hub=  <owner>/<name>; nothing is uploaded without it

A LoRA adapter is merged, and the shards of a ZeRO-3 checkpoint are joined. The card has the run's lineage, the base
model's licence and the scores of its finished evaluations.
"""

import sys

from lwexp.recipe.export import Wanted, export_run
from lwexp.runs.command_line import run_command
from lwexp.runs.logs import console_log

_EXAMPLES = dict.fromkeys(Wanted._fields, "...") | {"shard_size": "5GB"}


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code."""

    def export(options: dict[str, str]) -> None:
        console_log()
        folder = export_run(Wanted(**options))
        print(f"export: {folder}\nnext: lwexp chat model={folder}")

    return run_command("export", arguments, __doc__ or "", _EXAMPLES, export)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
