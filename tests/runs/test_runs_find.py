"""Which run a name means, and the error if there is no such run."""

import json
from pathlib import Path

import pytest

from lwexp.records import LwexpError
from lwexp.runs import find_run


def make_run(root: Path, id: str, status: str, model: str, stage: str = "train") -> None:
    manifest = {
        "id": id, "name": id.split("-")[0], "stage": stage, "status": status, "created": id, "end": id,
        "labels": {"model": model, "objective": "sft"},
    }  # fmt: skip
    (root / id).mkdir(parents=True)
    (root / id / "manifest.json").write_text(json.dumps(manifest))


def find(root: Path, wanted: str = "newest") -> str:
    labels = {"model": "glm4", "objective": "sft"}
    return find_run(
        wanted, root=root, stages=("train",), labels=labels, key="init_from", make_it="python train.py model=glm4"
    ).id  # fmt: skip


def test_runs_of_other_models_are_listed_with_how_to_choose_one(tmp_path: Path) -> None:
    make_run(tmp_path, "a-1", "finished", "tiny_glm")
    make_run(tmp_path, "b-2", "failed", "glm4")
    make_run(tmp_path, "c-3", "finished", "glm4", stage="evaluate")
    with pytest.raises(LwexpError) as told:
        find(tmp_path)
    assert str(told.value) == (
        f"init_from=newest: no finished train run with model=glm4, objective=sft under {tmp_path}; "
        "unfinished: b-2 (failed); others: a-1 (finished, tiny_glm, sft); choose one with init_from=<id>; "
        "make one with: python train.py model=glm4"
    )
    make_run(tmp_path, "d-4", "finished", "glm4")
    assert find(tmp_path) == "d-4"


def test_long_lists_are_cut_to_the_newest(tmp_path: Path) -> None:
    for number in range(10, 22):
        make_run(tmp_path, f"x-{number}", "finished", "llama31")
    with pytest.raises(LwexpError, match=r"; others: x-14 .*x-21 \(finished, llama31, sft\) and 4 earlier;"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("wanted", "answer"),
    [
        ("nosuch", "no run is called nosuch under {root}; there are a-1 (finished), b-2 (failed)"),
        ("c", "c-3 is of kind evaluate, wanted train"),
        ("c-3", "c-3 is of kind evaluate, wanted train"),
        ("{root}/c-3", "c-3 is of kind evaluate, wanted train"),
        ("a", "a-1 has model=tiny_glm, wanted model=glm4"),
        ("{root}/a-1", "a-1 has model=tiny_glm, wanted model=glm4"),
        ("b", "b-2 is failed, not finished; run its command again: lwexp rerun {root}/b-2"),
        ("{root}", "this folder is not a run: it has no manifest.json"),
    ],
)
def test_a_run_that_will_not_do_says_why(tmp_path: Path, wanted: str, answer: str) -> None:
    make_run(tmp_path, "a-1", "finished", "tiny_glm")
    make_run(tmp_path, "b-2", "failed", "glm4")
    make_run(tmp_path, "c-3", "finished", "glm4", stage="evaluate")
    wanted = wanted.format(root=tmp_path)
    with pytest.raises(LwexpError) as told:
        find(tmp_path, wanted)
    assert str(told.value) == f"init_from={wanted}: {answer.format(root=tmp_path)}"


def test_an_empty_folder_says_what_makes_a_run(tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match=r"there is no train run yet; make one with: python train\.py model=glm4"):
        find(tmp_path, "nosuch")
