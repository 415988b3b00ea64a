"""A training run whose weights were replaced in place is refused wherever the run is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lwexp.config import compose
from lwexp.recipe.export import Wanted, export_run
from lwexp.recipe.lineage import sft_run, train_run_of
from lwexp.records import LwexpError
from lwexp.records.checksums import write_checksums

REFUSED = r"model\.safetensors has changed since it was written; copy it again, or train again with rerun=true"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished SFT run, with files in place of a model."""
    folder = tmp_path / "runs" / "sft-1a2b3c4d"
    (folder / "model").mkdir(parents=True)
    manifest = {"id": folder.name, "stage": "train", "status": "finished", "labels": {"objective": "sft"}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    config: Any = compose("experiment=smoke")
    (folder / "config.json").write_text(config.model_dump_json())
    (folder / "model" / "config.json").write_text("{}")
    (folder / "model" / "model.safetensors").write_text("weights")
    write_checksums(folder / "model", folder / "model")
    return folder


def doors(run: Path) -> dict[str, Callable[[], object]]:
    named: Any = compose("experiment=smoke", f"root={run.parent}", f"run={run}", f"init_from={run}")
    return {
        "evaluate": lambda: train_run_of(named),
        "pairs and DPO": lambda: sft_run(named),
        "export": lambda: export_run(Wanted(run=str(run), out=str(run / "out"))),
    }


@pytest.mark.parametrize("door", ["evaluate", "pairs and DPO", "export"])
def test_replaced_weights_are_refused_where_the_run_is_named(run: Path, door: str) -> None:
    (run / "model" / "model.safetensors").write_text("weightS")
    with pytest.raises(LwexpError, match=REFUSED):
        doors(run)[door]()


@pytest.mark.parametrize("door", ["evaluate", "pairs and DPO"])
@pytest.mark.parametrize("is_deleted", [False, True])
def test_untouched_weights_are_taken_and_deleted_ones_leave_results_readable(
    run: Path, door: str, is_deleted: bool
) -> None:
    if is_deleted:
        (run / "model" / "model.safetensors").unlink()
    found: Any = doors(run)[door]()
    assert found.id == run.name
