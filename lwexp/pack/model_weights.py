"""Loads a causal language model from a folder, and refuses weights that are not all there or not those written."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lwexp.records import LwexpError, disk_problem
from lwexp.records.checksums import CHECKSUMS, check_files
from lwexp.runs.ranks import is_rank_zero
from lwexp.text.plain import first_line, one_line

_SHOWN = 3  # names of weights in a message
_LONGEST = 300  # characters of another library's message


def check_model(folder: Path, *, may_lack_files: bool = False) -> None:
    """Refuse an exported model whose files have changed since the export. Other models have no checksums.

    Args:
        folder: Where the model is.
        may_lack_files: Compare only the files that are there.

    Raises:
        LwexpError: Naming the first file that differs or is missing.
    """
    check_files(
        folder,
        f"copy it again, or train again with rerun=true (delete {CHECKSUMS} if you changed the folder on purpose)",
        among=[path.name for path in folder.glob("*")] if may_lack_files else None,
    )


@contextmanager
def refused_if_damaged(folder: str | Path, what: str) -> Iterator[None]:
    """Within this context, any error of transformers or tokenizers while it reads a file of a model becomes one line.

    They check little of what a file holds: a wrong value raises whatever the code that uses it raises, and tokenizers,
    which is written in Rust, ``Exception`` itself or a panic, which is no Exception.

    Raises:
        LwexpError: Naming the folder and ``what`` is damaged.
    """
    try:
        yield
    except LwexpError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if disk_problem(error) is not None:
            raise
        said = one_line(str(error) or type(error).__name__, _LONGEST)
        raise LwexpError(f"{folder}: cannot read {what}: {said}; copy the model's folder again") from None


def load_weights(source: str | Path, **options: Any) -> Any:
    """Load a model through transformers, with every weight taken from ``source``.

    On its own, transformers initialises missing weights at random, drops unexpected ones, and accepts weights that are
    not finite. Such a model can be trained and sampled, but its numbers mean nothing.

    Args:
        source: A folder or hub id in Hugging Face format.
        options: As for ``AutoModelForCausalLM.from_pretrained``.

    Raises:
        LwexpError: If weights cannot be read, are missing or unexpected, do not have the config's shapes, are not
            finite, or are not those that were exported.
    """
    from transformers import AutoModelForCausalLM

    if is_rank_zero() and Path(source).is_dir():
        check_model(Path(source))
    try:
        with _without_report():
            model, found = AutoModelForCausalLM.from_pretrained(
                source, output_loading_info=True, ignore_mismatched_sizes=True, trust_remote_code=False, **options
            )
    except Exception as error:  # safetensors, torch's pickle reader and transformers each raise types of their own
        raise LwexpError(f"cannot load weights from {source}: {first_line(error)}; copy the folder again") from None
    mismatched = [str(row[0]) for row in found["mismatched_keys"]]
    for what, names in (
        ("has no", found["missing_keys"]),
        ("has a wrong shape for", mismatched),
        ("has weights that config.json leaves no place for,", found["unexpected_keys"]),
    ):
        if names:
            raise LwexpError(f"{source}: it {what} {_listed(sorted(names))}; copy the model's folder again")
    if names := list(_not_finite(model)):
        raise LwexpError(f"{source}: NaN or infinite numbers in {_listed(names)}; copy or export the model again")
    return model


def batch_dependent_rotary(config: Any, longest: int | None = None) -> dict[str, int]:
    """The rotary types of a transformers config whose frequencies depend on the longest sequence of a forward pass.

    transformers computes them from the largest position of the whole batch (``dynamic_rope_update``). Documents of one
    pack, or answers that are decoded together, would change each other as soon as one of them passes a limit.

    Args:
        config: A transformers config.
        longest: Positions of the longest possible sequence; None if it is not known.

    Returns:
        Rotary type -> the number of positions up to which its frequencies are fixed. Types whose limit ``longest``
        does not pass are left out.
    """
    found = getattr(config, "rope_parameters", None) or {}
    per_layer = [value for value in found.values() if isinstance(value, dict)]
    limits = {}
    for rotary in (found, *per_layer):
        if (kind := rotary.get("rope_type")) in ("dynamic", "longrope"):
            # dynamic grows beyond max_position_embeddings, longrope switches beyond the length of the pretraining.
            original = rotary.get("original_max_position_embeddings") if kind == "longrope" else None
            limits[str(kind)] = int(original or config.max_position_embeddings)
    return {kind: limit for kind, limit in sorted(limits.items()) if longest is None or longest > limit}


def conversion_advice(path: str | Path) -> str | None:
    """The command that converts a GGUF file, or the file in a folder without config.json; None if it is neither."""
    path = Path(path)
    found = [path] if path.suffix == ".gguf" else sorted(path.glob("*.gguf"))
    if not found or not found[0].is_file() or (path / "config.json").is_file():
        return None
    return f"it is a GGUF file; convert it once: python -m lwexp.convert gguf={found[0]} out=models/{found[0].stem}"


def _not_finite(model: Any) -> Iterator[str]:
    for name, parameter in model.named_parameters():
        here = getattr(parameter, "ds_tensor", parameter).detach()  # under ZeRO-3, this rank's part
        # The extremes of a tensor are NaN if any of its numbers is. They need no memory, as isfinite() would.
        if here.numel() and not all(extreme.isfinite() for extreme in here.aminmax()):
            yield name


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


@contextmanager
def _without_report() -> Iterator[None]:
    """Silence transformers' table of missing and unexpected weights, which one line replaces here."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
