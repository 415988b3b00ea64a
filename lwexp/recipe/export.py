"""Exports a training run as a model folder that other tools can load and, only if asked, to the hub."""

import logging
import re
from pathlib import Path
from typing import NamedTuple

from lwexp.config import Config
from lwexp.config.compose import read_config
from lwexp.records import LwexpError
from lwexp.runs import Run, find_run
from lwexp.runs.artifacts import CHECKPOINTS, MODEL, TrainResults
from lwexp.runs.find import list_runs
from lwexp.text.plain import plural

log = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """The options of ``python -m lwexp.export``."""

    run: str = "newest"
    root: str = "runs"
    out: str | None = None
    checkpoint: str | None = None
    shard_size: str | None = None
    push_to_hub: str | None = None


def export_run(wanted: Wanted) -> Path:
    """Write the model of a finished run, or of a checkpoint of an unfinished one, and return its folder.

    Raises:
        LwexpError: If there is no such run or checkpoint, or the disk or the hub refuses it.
    """
    if wanted.shard_size is not None and not re.fullmatch(r"\d+(KB|MB|GB)", wanted.shard_size):
        raise LwexpError(f"shard_size={wanted.shard_size}: wanted a number with KB, MB or GB, such as shard_size=5GB")
    if wanted.push_to_hub is not None:
        _require_hub(wanted.push_to_hub)
    run = _find(wanted)
    config = read_config(run.config_tree)
    folder = Path(wanted.out) if wanted.out else run.path / "export"
    _require_replaceable(folder)
    if run.is_finished and wanted.checkpoint is None:
        _from_finished(run, config, folder, wanted.shard_size)
    else:
        _from_checkpoint(run, config, folder, wanted)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    log.info("%s: %s in %s", folder, f"{size / 2**20:,.1f} MiB", plural(len(list(folder.iterdir())), "file"))
    if wanted.push_to_hub is not None:
        _push(folder, wanted.push_to_hub)
    return folder


def _find(wanted: Wanted) -> Run:
    """A run by directory, name or id, finished or not; "newest" is the newest finished one."""
    path = Path(wanted.run)
    if (run := Run.at(path)) is not None:
        if run.stage != "train":
            raise LwexpError(f"run={wanted.run}: a {run.stage} run has no model; give a training run")
        return run
    for run in reversed(list_runs(Path(wanted.root))):
        if run.stage == "train" and wanted.run in (run.id, run.name):
            return run
    return find_run(
        wanted.run, root=Path(wanted.root), stages=("train",), key="run", make_it="python train.py model=glm4"
    )


def _require_replaceable(folder: Path) -> None:
    """Only an earlier export, or an empty folder, may be overwritten."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "generation_config.json").is_file():
        raise LwexpError(f"out={folder}: the folder contains something other than a model; choose another")


def _card(run: Run, config: Config) -> str:
    from lwexp.train.export.card import model_card, scores_of

    evaluations = [
        other
        for other in list_runs(run.path.parent)
        if other.stage == "evaluate" and other.is_finished and run.id in other.parents
    ]
    scores = scores_of(run.id, evaluations)
    log.info(
        "card: %s of %s of %s",
        plural(len(scores), "score"), plural(len(evaluations), "finished evaluation"), run.id,
    )  # fmt: skip
    return model_card(config, run, run.results(TrainResults), scores)


def _from_finished(run: Run, config: Config, folder: Path, shard_size: str | None) -> None:
    from lwexp.pack.model_weights import check_model
    from lwexp.train.export.model_folder import has_model, reshard_model

    source = run.path / MODEL
    check_model(source)
    if not has_model(source):
        raise LwexpError(f"{source} has no model; rerun the command of {run.id}: {run.manifest.command}")
    reshard_model(source, folder, _card(run, config), shard_size)


def _from_checkpoint(run: Run, config: Config, folder: Path, wanted: Wanted) -> None:
    """Weights from a checkpoint; everything else as in the run's own export."""
    from lwexp.train.export.model_folder import SHARD_SIZE, checkpoint_state, export_model
    from lwexp.train.loop.checkpoints import newest_checkpoint
    from lwexp.train.loop.training_setup import prepare_tokenizer
    from lwexp.train.model.build import build_model, training_dtype
    from lwexp.train.planner.hardware import hardware_of, settle_hardware

    checkpoints = run.path / CHECKPOINTS
    if wanted.checkpoint is None:
        found = newest_checkpoint(checkpoints)
        if found is None:
            raise LwexpError(
                f"run={wanted.run}: {run.id} is {run.status} and has no complete checkpoint; run its command "
                f"again, or set training.checkpoint_every_steps"
            )
        state, name = found.state, f"step {found.step}"
    else:
        state, name = checkpoints / wanted.checkpoint / "state.ckpt", wanted.checkpoint
        if not state.exists():
            there = ", ".join(sorted(path.name for path in checkpoints.glob("step-*"))) or "none"
            raise LwexpError(f"checkpoint={wanted.checkpoint}: {run.id} has no such checkpoint; there: {there}")
    log.info("%s is %s: exporting its checkpoint, %s", run.id, run.status, name)
    config = settle_hardware(config)
    start = _start_of(run)
    tokenizer = prepare_tokenizer(config, run.path, (), start)
    dtype = training_dtype(hardware_of(config))
    model = build_model(config.model.unquantized(), tokenizer, seed=config.seed, dtype=dtype, weights=start)
    trained = checkpoint_state(model, state, lacks_base=config.model.quantize != "none")
    export_model(
        model, tokenizer, folder, _card(run, config), trained, config=config.model,
        shard_size=wanted.shard_size or SHARD_SIZE,
    )  # fmt: skip


def _start_of(run: Run) -> Path | None:
    """Model folder of the SFT run that a DPO run started from."""
    for parent in run.manifest.parents:
        if parent.id == run.manifest.inputs.get("init_from"):
            return run.place_of(parent) / MODEL
    return None


def _require_hub(repo: str) -> None:
    """Check what can be known before the export starts."""
    from huggingface_hub import constants, get_token

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise LwexpError(f"push_to_hub={repo}: wanted <owner>/<name>")
    if constants.HF_HUB_OFFLINE:
        raise LwexpError(f"push_to_hub={repo}: HF_HUB_OFFLINE=1 forbids access to the hub; unset it")
    if get_token() is None:
        raise LwexpError(f"push_to_hub={repo}: there is no token; run `hf auth login` or set HF_TOKEN")


def _push(folder: Path, repo: str) -> None:
    """Upload to a private repository, which is created if necessary."""
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        api.create_repo(repo, repo_type="model", private=True, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message=f"lwexp: {folder.resolve().parent.name}")
    except HfHubHTTPError as error:
        raise LwexpError(
            f"push_to_hub={repo}: the hub answered {error.response.status_code}; check that the token may write there. "
            f"The model is in {folder}"
        ) from None
    except (httpx.HTTPError, OSError) as error:
        raise LwexpError(
            f"push_to_hub={repo}: the hub cannot be reached ({type(error).__name__}); the model is in {folder}"
        ) from None
    log.info("uploaded to https://huggingface.co/%s (private until you change it there)", repo)
