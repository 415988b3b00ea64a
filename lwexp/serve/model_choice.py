"""The model that ``run=`` or ``model=`` names."""

from pathlib import Path
from typing import NamedTuple

from lwexp.records import LwexpError
from lwexp.runs.artifacts import MODEL
from lwexp.runs.find import find_run


class ModelChoice(NamedTuple):
    """A model folder and the name it is known by."""

    folder: Path
    name: str


def chosen_model(command: str, options: dict[str, str]) -> ModelChoice:
    """The exported model of a training run, or a folder in Hugging Face format.

    Args:
        command: For messages.
        options: With ``run`` or ``model``, and perhaps ``root``.

    Raises:
        LwexpError: If both are given or neither, or nothing is there.
    """
    if ("run" in options) == ("model" in options):
        raise LwexpError(f"{command}: wanted run=<run directory, name, id or newest> or model=<folder>, not both")
    if "model" in options:
        folder = Path(options["model"])
        return ModelChoice(folder, folder.absolute().name)
    run = find_run(
        options["run"], root=Path(options.get("root", "runs")), stages=("train",), key=f"{command}: run",
        make_it="lwexp train",
    )  # fmt: skip
    return ModelChoice(run.path / MODEL, run.id)
