"""Export a training run as an ordinary Hugging Face folder: weights, tokenizer, chat template, stop ids, card.

    python -m lwexp.export run=newest                          the newest finished run, into <run>/export
    python -m lwexp.export run=runs/sft-glm4-1a2b3c4d out=longwriter-9b shard_size=2GB
    python -m lwexp.export run=sft-glm4 checkpoint=step-00000400      a checkpoint of a run that is not finished
    python -m lwexp.export run=newest push_to_hub=me/longwriter-9b    uploads too, into a private repository

run=          a run directory, a run's name or id, or newest; an unfinished run gives its newest whole checkpoint
root=         where runs live (runs)
out=          folder of the model (<run>/export)
checkpoint=   name of a folder in <run>/checkpoints
shard_size=   largest weights file, such as 500MB (5GB)
push_to_hub=  <owner>/<name>; nothing is uploaded without it

A LoRA adapter is merged, the parts of a ZeRO-3 checkpoint are joined. The card has the run's lineage, the base model's
licence and the scores of its finished evaluations.
"""

import sys

from lwexp.recipe.export import Wanted, export_run
from lwexp.records import LwexpError


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 2 a mistake the user can mend."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or any(word in ("--help", "-h") for word in arguments):
        print(__doc__)
        return 0 if arguments else 2
    try:
        wanted = read_arguments(arguments)
        from lwexp.runs.logs import console_log

        console_log()
        print(f"export: {export_run(wanted)}")
    except LwexpError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 2
    return 0


def read_arguments(arguments: list[str]) -> Wanted:
    """The words of the command line.

    Raises:
        LwexpError: At an unknown word or an option without its value.
    """
    given: dict[str, str] = {}
    for word in arguments:
        key, equals, value = word.removeprefix("--").partition("=")
        if key not in Wanted._fields:
            raise LwexpError(f"export: {word}: no such option; there are {', '.join(f + '=' for f in Wanted._fields)}")
        if not equals or not value:
            raise LwexpError(f"export: {key} needs a value, such as {key}={'5GB' if key == 'shard_size' else '...'}")
        given[key] = value
    return Wanted(**given)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
