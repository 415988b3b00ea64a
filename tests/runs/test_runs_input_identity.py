"""Inputs are known by what they hold: 12 changes that give another run, 10 that do not, for every kind of input."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lwexp.config import Config, compose
from lwexp.extend.source import Found
from lwexp.mix.resolve import Resolved
from lwexp.mix.sources.files import FileSource, PairsFileSource
from lwexp.recipe import evaluation, pairs, training
from lwexp.records import FileState, LwexpError
from lwexp.runs import Run, fingerprint, open_run
from lwexp.runs.artifacts import DataResults, Manifest
from lwexp.runs.identity import run_id

JUDGE = "Rate $RESPONSE$ to $INST$."
FILES = {"judge.txt": JUDGE, "asks.jsonl": '{"text": "Write 300 words."}\n', "prompts/plan_en.txt": "$INST$"}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        file = tmp_path / "a" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        (tmp_path / "b" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "b" / name).write_text(content)
    return tmp_path


def evaluated(folder: Path, *more: str) -> str:
    config = compose("experiment=smoke", f"judge.prompt={folder / 'judge.txt'}", f"root={folder / 'runs'}", *more)
    trained = Run(folder / "sft-00000001", Manifest(id="sft-00000001"))
    return run_id("evaluate", config, evaluation._inputs(config, [], trained, None))


def paired(folder: Path, *more: str) -> str:
    config = compose("experiment=smoke", "task=pairs", f"judge.prompt={folder / 'judge.txt'}", *more)
    return run_id("pairs", config, pairs._inputs(config, Run(folder / "sft-00000001", Manifest(id="sft-00000001"))))


def generated(folder: Path, *more: str) -> str:
    file = folder / "asks.jsonl"
    typed = (f"generate.instructions.path={file}", f"generate.prompts={folder / 'prompts'}", *more)
    config = compose("instructions=file", "teacher=offline", *typed)
    return run_id("data", config, {"instructions": fingerprint(file), "prompts": fingerprint(folder / "prompts")})


def edit(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


STAGES = {"evaluate": evaluated, "pairs": paired, "data": generated}
# Stage, what changes in the folder, and what is typed besides.
CHANGES: dict[str, tuple[str, Callable[[Path], object], tuple[str, ...]]] = {
    "evaluate: the judge's prompt": ("evaluate", edit("judge.txt", f"{JUDGE} Be strict."), ()),
    "evaluate: one space in it": ("evaluate", edit("judge.txt", f"{JUDGE} "), ()),
    "evaluate: lwexp's own prompt": ("evaluate", lambda folder: None, ("judge.prompt=null",)),
    "evaluate: the seed": ("evaluate", lambda folder: None, ("seed=7",)),
    "pairs: the judge's prompt": ("pairs", edit("judge.txt", f"{JUDGE} Be strict."), ()),
    "pairs: lwexp's own prompt": ("pairs", lambda folder: None, ("judge.prompt=null",)),
    "pairs: answers per instruction": ("pairs", lambda folder: None, ("pairs.n=3",)),
    "data: an instruction": ("data", edit("asks.jsonl", '{"text": "Write 301 words."}\n'), ()),
    "data: an instruction more": ("data", edit("asks.jsonl", 2 * FILES["asks.jsonl"]), ()),
    "data: a prompt": ("data", edit("prompts/plan_en.txt", "Plan $INST$"), ()),
    "data: a prompt more": ("data", edit("prompts/write_en.txt", "$INST$"), ()),
    "data: how many instructions": ("data", lambda folder: None, ("generate.instructions.count=1",)),
}
NO_CHANGES: dict[str, tuple[str, Callable[[Path], object], tuple[str, ...]]] = {
    "evaluate: another file beside the prompt": ("evaluate", edit("other.txt", "x"), ()),
    "evaluate: the prompt written again": ("evaluate", edit("judge.txt", JUDGE), ()),
    "evaluate: the label": ("evaluate", lambda folder: None, ("name=other",)),
    "evaluate: calls at once": ("evaluate", lambda folder: None, ("judge.limits.concurrency=2",)),
    "pairs: the prompt written again": ("pairs", edit("judge.txt", JUDGE), ()),
    "pairs: the root": ("pairs", lambda folder: None, ("root=elsewhere",)),
    "data: the file written again": ("data", edit("asks.jsonl", FILES["asks.jsonl"]), ()),
    "data: the file's mode": ("data", lambda folder: (folder / "asks.jsonl").chmod(0o600), ()),
    "data: a budget": ("data", lambda folder: None, ("teacher.limits.budget_usd=5",)),
    "data: tracking": ("data", lambda folder: None, ("tracking=wandb_offline",)),
}


def test_the_tables_have_12_changes_and_10_that_are_none() -> None:
    assert (len(CHANGES), len(NO_CHANGES)) == (12, 10)


@pytest.mark.parametrize("change", CHANGES)
def test_another_input_is_another_run(here: Path, change: str) -> None:
    stage, act, typed = CHANGES[change]
    before = STAGES[stage](here / "a")
    act(here / "a")
    assert STAGES[stage](here / "a", *typed) != before


@pytest.mark.parametrize("change", NO_CHANGES)
def test_what_cannot_change_a_result_is_the_same_run_in_any_folder(here: Path, change: str) -> None:
    stage, act, typed = NO_CHANGES[change]
    before = STAGES[stage](here / "a")
    act(here / "a")
    assert STAGES[stage](here / "a", *typed) == before
    assert STAGES[stage](here / "b") == before  # the same content at another path


def test_a_run_of_an_earlier_version_is_found_by_the_id_with_whole_paths(here: Path) -> None:
    config: Config = compose("instructions=file", f"generate.instructions.path={here / 'a' / 'asks.jsonl'}",
                             "teacher=offline", f"root={here / 'runs'}")  # fmt: skip
    inputs = {"instructions": fingerprint(here / "a" / "asks.jsonl")}
    with open_run("data", config, default_name="x", inputs=inputs) as run:
        run.finish(DataResults(tally="", conversations=1, calls=1, prompt_tokens=1, completion_tokens=1, cost_usd=0))
    earlier = f"x-{run_id('data', config, inputs, whole_paths=True)}"
    assert run.id != earlier
    run.path.rename(run.path.with_name(earlier))

    again = open_run("data", config, default_name="x", inputs=inputs)

    assert (again.path.name, again.is_finished) == (earlier, True)


WORK = ("teacher=gpt4o", "judge=gpt4o", "engine=litellm", "engine.model=openai/x")
SAME = [
    "teacher.api_key_env=B_KEY", "teacher.price={input_per_mtok: 1, output_per_mtok: 2}", "judge.api_key_env=null",
    "judge.price={input_per_mtok: 0, output_per_mtok: 0}", "engine.api_key_env=B_KEY",
    "engine.price={input_per_mtok: 1, output_per_mtok: 2}",
]  # fmt: skip
OTHER = ["teacher.base_url=http://h:1/v1", "judge.temperature=1", "engine.supports_top_k=true", "name=y", "seed=1"]


def opened(root: Path, stage: str, *more: str, inputs: dict[str, str] | None = None) -> Path:
    with open_run(stage, compose(*WORK, f"root={root}", *more), default_name="x", inputs=inputs or {}) as run:
        run.leave()
    return run.path


@pytest.mark.parametrize("typed", SAME)
def test_a_price_and_the_name_of_a_keys_variable_are_the_same_run(tmp_path: Path, typed: str) -> None:
    """Earlier versions counted them in ids, which must stay as they are: the run keeps the id of its first start."""
    stage = "data" if typed.startswith("teacher") else "evaluate"
    first = opened(tmp_path, stage)
    assert first.name == f"x-{run_id(stage, compose(*WORK, f'root={tmp_path}'), {})}"
    assert run_id(stage, compose(*WORK, typed), {}) != run_id(stage, compose(*WORK), {})

    assert opened(tmp_path, stage, typed) == first
    assert opened(tmp_path, stage, typed, inputs={"source": "1"}) != first


@pytest.mark.parametrize("typed", OTHER)
def test_a_server_a_port_and_a_setting_are_another_run(tmp_path: Path, typed: str) -> None:
    """The control. Two ports of one host are two servers, which may hold two models under one name."""
    stage = "data" if typed.startswith("teacher") else "evaluate"
    first = opened(tmp_path, stage, "teacher.base_url=http://h:2/v1")
    assert opened(tmp_path, stage, "teacher.base_url=http://h:2/v1", "judge.api_key_env=B_KEY", typed) != first


@pytest.mark.parametrize("source", [FileSource, PairsFileSource])
def test_a_source_that_changes_while_it_is_hashed_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: type[FileSource] | type[PairsFileSource]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n")

    def found() -> FileState:
        state = source(path=str(path)).find("mixture.sources.a", tmp_path).state
        assert state is not None
        return state

    found().require_same(path, "mixture.sources.a")  # the control

    def hashed(file: Path) -> str:
        mark = fingerprint(file)
        file.write_text("{} \n")
        return mark

    monkeypatch.setattr("lwexp.runs.fingerprint", hashed)
    with pytest.raises(LwexpError, match=r"^mixture\.sources\.a=.*: was changed while it was read"):
        found().require_same(path, "mixture.sources.a")


def test_training_compares_with_the_state_from_before_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n")
    source = FileSource(path=str(path))
    before = FileState.of(path)
    path.write_text("{} \n")
    found = {"kept": Found(str(path), "", state=before), "not kept": Found(str(path), "")}

    states = training._states([Resolved(name, "", source, where) for name, where in found.items()])

    assert states == {"kept": before, "not kept": FileState.of(path)}


def test_a_source_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "rows"
    source.mkdir()
    (source / "a.jsonl").write_text("1")
    before = FileState.of(source)
    before.require_same(source, "source")

    for act in (
        lambda: (source / "a.jsonl").write_text("12"), lambda: (source / "b.jsonl").write_text("1"),
        lambda: (source / "a.jsonl").unlink(),
    ):  # fmt: skip
        before = FileState.of(source)
        act()
        with pytest.raises(LwexpError, match=f"^source={source}: was changed while it was read"):
            before.require_same(source, "source")
    with pytest.raises(LwexpError, match="was changed"):
        FileState.of(tmp_path).require_same(tmp_path / "gone", "source")
