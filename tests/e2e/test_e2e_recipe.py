"""The whole recipe at its smallest, through the real commands; run twice, the second run recomputes nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS = [
    ("generate_data.py", "experiment=smoke"),
    ("train.py", "experiment=smoke", "name=sft"),
    ("generate_data.py", "experiment=smoke", "task=pairs", "init_from=sft"),
    ("train.py", "experiment=smoke_dpo", "name=dpo", "init_from=sft"),
    ("evaluate.py", "experiment=smoke", "run=sft"),
    ("evaluate.py", "experiment=smoke", "run=dpo"),
]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run directories of one pass through the recipe."""
    folder = tmp_path_factory.mktemp("recipe") / "runs"
    for step in STEPS:
        done = run(*step, f"root={folder}")
        assert done.returncode == 0, done.stderr
    return folder


def test_every_step_finishes_and_names_its_parents(root):
    manifests = {
        path.parent.name.rsplit("-", 1)[0]: json.loads(path.read_text()) for path in root.glob("*/manifest.json")
    }

    assert {name: manifest["status"] for name, manifest in manifests.items()} == dict.fromkeys(
        ["data-offline", "sft", "pairs-sft", "dpo", "eval-sft", "eval-dpo"], "finished"
    )
    parents = {name: {parent["id"].rsplit("-", 1)[0] for parent in m["parents"]} for name, m in manifests.items()}
    assert parents["data-offline"] == set()
    assert parents["sft"] == {"data-offline"}
    assert parents["pairs-sft"] == {"sft", "data-offline"}
    assert parents["dpo"] == {"sft", "pairs-sft"}
    assert parents["eval-dpo"] == {"dpo"}


def test_every_count_adds_up(root):
    (data,) = root.glob("data-offline-*")
    (sft,) = root.glob("sft-*")
    conversations = (data / "conversations.jsonl").read_text().splitlines()
    mixture = json.loads((sft / "mixture.json").read_text())
    meta = json.loads((sft / "packs" / "meta.json").read_text())

    assert len(conversations) == 24
    assert mixture["tally"] == "24 in = 24 kept"
    assert len(mixture["answer_words"]) == 24
    assert meta["report"]["packed"]["documents"] == 24


def test_the_second_pass_recomputes_nothing(root):
    def state():
        """Every file but those that each start of an evaluation writes again from what is there."""
        return {
            str(path): path.stat().st_mtime_ns
            for path in root.rglob("*")
            if path.is_file()
            and path.name not in ("report.html", "report.md", "report.csv", "summary.json", "how_measured.md")
        }

    before = state()
    for step in STEPS:
        done = run(*step, f"root={root}")
        assert done.returncode == 0, done.stderr
        assert "finished" in done.stderr
    assert state() == before


@pytest.mark.parametrize("step", STEPS, ids=" ".join)
def test_a_dry_run_says_what_it_would_do_and_leaves_nothing(root, step):
    before = sorted(root.rglob("*"))
    done = run(*step, f"root={root}", "dry_run=true", "seed=11")

    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 50
    assert sorted(root.rglob("*")) == before


def test_another_seed_is_computed(root):
    """Negative control for the test above: it would notice work."""
    before = set(root.iterdir())
    assert run(*STEPS[0], f"root={root}", "seed=1").returncode == 0
    assert len(set(root.iterdir()) - before) == 1


def test_the_exported_model_opens_in_plain_transformers(root):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (dpo,) = root.glob("dpo-*")
    model = AutoModelForCausalLM.from_pretrained(dpo / "model")
    tokenizer = AutoTokenizer.from_pretrained(dpo / "model")
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Write 50 words."}], tokenize=False)

    assert type(model).__name__ == "GlmForCausalLM"
    assert text.startswith("[gMASK]<sop><|user|>")


def test_the_report_compares_both_models(root):
    done = run("-m", "lwexp.report", str(root), "--out", str(root / "report.html"))

    assert done.returncode == 0, done.stderr
    summary = json.loads((root / "summary.json").read_text())
    for model in ("sft", "dpo"):
        assert {"max_words", "S_l", "S_q", "S_bar", "n"} <= set(summary[model])
        assert summary[model]["n"] == 4  # 1 topic x 2 lengths x 2 languages
    assert "stand-in" in (root / "report.html").read_text()


def test_a_sweep_runs_each_trial_in_its_own_process_and_leaves_one_comparison(root):
    sweep = ["train.py", "-m", "+sweeps=smoke", f"root={root}", "mixture.sources.drafts.run=data-offline"]
    done = run(*sweep, also_its_own=True)

    assert done.returncode == 0, done.stderr
    (folder,) = root.glob("sweep-smoke-*")
    trials = json.loads((folder / "trials.json").read_text())
    assert [trial["exit_code"] for trial in trials] == [0, 0]
    assert len({trial["runs"][0] for trial in trials}) == 2
    assert (folder / "report.html").is_file()
    assert len(json.loads((folder / "summary.json").read_text())["models"]) == 2
    assert not list(REPOSITORY.glob("multirun.yaml"))


def test_imported_files_and_drafts_train_together_and_a_broken_row_is_named(root, tmp_path):
    """Shapes as LLaMA-Factory publishes them: an alpaca .json with a broken row, and a sharegpt .jsonl."""
    alpaca = [{"instruction": f"Say {n}.", "input": "", "output": f"Here is {n}."} for n in range(8)]
    del alpaca[2]["output"]
    (tmp_path / "alpaca.json").write_text(json.dumps(alpaca))
    sharegpt = {"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Good day"}]}
    (tmp_path / "sharegpt.jsonl").write_text((json.dumps(sharegpt) + "\n") * 3)

    imported = run("generate_data.py", "task=import", f"source={tmp_path / 'alpaca.json'}", f"root={root}")
    stopped = run(
        "generate_data.py", "task=import", f"source={tmp_path / 'alpaca.json'}", f"root={root}", "on_bad_row=error"
    )
    extra = f"+mixture.sources.chat={{kind: file, path: {tmp_path / 'sharegpt.jsonl'}, format: auto, count: 3, "
    extra += "min_words: null, max_words: null, on_bad_row: skip}"
    more = "+mixture.sources.alpaca={kind: drafts, run: import-alpaca, count: 7, min_words: null, max_words: null, "
    more += "plan_first: false}"
    trained = run(
        "train.py", "experiment=smoke", "name=mixed", f"root={root}", "mixture.sources.drafts.run=data-offline",
        extra, more,
    )  # fmt: skip

    assert imported.returncode == 0, imported.stderr
    assert "8 in = 7 kept" in imported.stderr
    assert "alpaca.json" in imported.stderr
    assert "output" in imported.stderr
    assert stopped.returncode == 2
    assert "row 3" in stopped.stderr
    assert trained.returncode == 0, trained.stderr
    (mixed,) = root.glob("mixed-*")
    assert {row["source"]: row["taken"] for row in json.loads((mixed / "mixture.json").read_text())["table"]} == {
        "drafts": 24, "chat": 3, "alpaca": 7,
    }  # fmt: skip


def test_offline_tracking_needs_no_account(root):
    done = run(
        "train.py", "experiment=smoke", "name=tracked", f"root={root}", "tracking=wandb_offline", "seed=5",
        "mixture.sources.drafts.run=data-offline",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    (tracked,) = root.glob("tracked-*")
    assert list(tracked.rglob("*.wandb"))


def run(*arguments: str, also_its_own: bool = False) -> subprocess.CompletedProcess[str]:
    """One command as a user types it, without keys, one thread (tests run side by side)."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    environment["OMP_NUM_THREADS"] = "1"
    return forked.run([sys.executable, *arguments], env=environment, also_its_own=also_its_own)
