"""README.md of an exported model: facts, lineage, scores, licence."""

from pathlib import Path
from typing import Any, NamedTuple

from lwexp.config.schema import Config
from lwexp.extend import Licence
from lwexp.records import parse_json
from lwexp.runs import Run
from lwexp.runs.artifacts import Git, TrainResults
from lwexp.train.model.context import context_changes
from lwexp.train.model.dimensions import published_models
from lwexp.train.model.hub_models import hub_model


class Score(NamedTuple):
    """One number of a finished evaluation."""

    bench: str
    judge: str | None
    metric: str
    value: float
    answers: int
    unscored: int
    run: str


def base_licence(path: str | None) -> Licence | None:
    """Licence of the base model, from the known hub ids or from the README.md of a local folder; None if not found."""
    if path is None:
        return None
    if (known := published_models().get(path) or hub_model(path)) is not None:
        return known.licence
    readme = Path(path) / "README.md"
    if not readme.is_file():
        return None
    from huggingface_hub import ModelCard

    data = ModelCard.load(readme).data.to_dict()
    return Licence(data["license"], data.get("license_name"), data.get("license_link")) if "license" in data else None


def scores_of(run_id: str, evaluations: list[Run]) -> list[Score]:
    """Scores of a run, read from the summary.json of each of its evaluations."""
    found: list[Score] = []
    for evaluation in evaluations:
        try:
            summary = parse_json((evaluation.path / "summary.json").read_text(encoding="utf-8"))
            found += _scores_in(summary, evaluation.id)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue
    return found


def _scores_in(summary: dict[str, Any], evaluation: str) -> list[Score]:
    """The scores in a summary.json."""
    bench, judge = str(summary["bench"]), summary["judge"]
    return [
        Score(bench, judge, metric, float(value), model["n"], model["n_unscored"] if metric != "S_l" else 0, evaluation)
        for model in summary["models"].values()
        for metric in ("S_l", "S_q", "S_bar")
        if isinstance(value := model.get(metric), int | float)
    ]


def model_card(config: Config, run: Run, results: TrainResults | None, scores: list[Score] | None = None) -> str:
    """README.md of the model.

    Args:
        config: Config of the run.
        run: Gives the id, parents, inputs, versions and commit.
        results: Results of the run; None if it has not finished.
        scores: Scores from finished evaluations.
    """
    from huggingface_hub import ModelCard

    base = config.model.path if config.model.init == "pretrained" else None
    facts = "\n".join(f"| {name} | {value} |" for name, value in _facts(config, run, results, base).items())
    text = f"""\
---
{_metadata(config, run, scores or [], base)}
---

# {run.id}

Trained with lwexp, a framework for the LongWriter recipe (arXiv 2408.07055).

| | |
|---|---|
{facts}

## Lineage

{_lineage(run)}

## Scores

{_scores(scores or [])}

## Use

The chat format is in the tokenizer: `tokenizer.apply_chat_template(messages, add_generation_prompt=True)`.
Stop ids are in generation_config.json, which sets no length; give `max_new_tokens` yourself.

## Licence

{_licence_text(base_licence(base), base)}
"""
    return str(ModelCard(text))


def _metadata(config: Config, run: Run, scores: list[Score], base: str | None) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    licence = base_licence(base)
    results = [
        EvalResult(
            task_type="text-generation", task_name="Long-form writing", dataset_type=score.bench,
            dataset_name=score.bench, metric_type=score.metric, metric_name=_metric_name(score),
            metric_value=round(score.value, 2), verified=False,
        )
        for score in scores
    ]  # fmt: skip
    options: dict[str, Any] = {}
    if licence is not None:
        options = {"license": licence.id, "license_name": licence.name, "license_link": licence.link}
    data = ModelCardData(
        language=["en", "zh"], library_name="transformers", pipeline_tag="text-generation",
        base_model=None if base is None or Path(base).exists() else base,
        tags=["lwexp", "long-form", config.objective.kind], model_name=run.id if results else None,
        eval_results=results or None, **options,
    )  # fmt: skip
    return str(data.to_yaml())


def _metric_name(score: Score) -> str:
    return score.metric if score.judge is None or score.metric == "S_l" else f"{score.metric} (judge {score.judge})"


def _facts(config: Config, run: Run, results: TrainResults | None, base: str | None) -> dict[str, str]:
    objective, lora = config.objective, config.model.lora
    base_bits = "" if config.model.quantize == "none" else "trained on a base in 4 bits (NF4), "
    facts = {
        "run": run.id,
        "model": f"{config.model.name} ({'from ' + base if base else 'random initialisation'})",
        "trained": f"a LoRA adapter, r {lora.r}, alpha {lora.alpha:g}, {base_bits}merged into the weights"
        if config.model.adapter == "lora"
        else "all weights",
        "objective": objective.kind,
        "loss": objective.summary,
        "learning rate": f"{objective.optimizer.lr:g}, {objective.optimizer.schedule}",
        "packs a step": f"{objective.global_batch} of at most {config.pack.max_tokens:,} tokens",
        "chat format": config.model.chat_format,
        "seed": str(config.seed),
        "code": _commit(run.manifest.git),
    }
    if changes := context_changes(config.model):
        facts["context"] = ", ".join(changes)
    if results is not None:
        facts |= {
            "steps": f"{results.steps:,}",
            "target tokens": f"{results.target_tokens:,}",
            "final loss": f"{results.final_loss:.4f}",
            "longest answer trained on": f"{results.max_train_words:,} words",
        }
    return facts


def _lineage(run: Run) -> str:
    lines = [f"- made from run `{parent.id}`{_teacher(run.place_of(parent))}" for parent in run.manifest.parents]
    lines += [f"- input `{name}`: `{digest}`" for name, digest in run.manifest.inputs.items()]
    versions = ", ".join(f"{name} {version}" for name, version in run.manifest.versions.items() if version)
    lines += [f"- config hash `{run.id.rsplit('-', 1)[-1]}`", f"- versions: {versions or 'not recorded'}"]
    return "\n".join(lines)


def _teacher(parent: Path) -> str:
    """A phrase that names the teacher, if the parent is a data run that has one; else an empty string."""
    run = Run.at(parent)
    teacher = run.setting("teacher.model", str) if run is not None and run.stage == "data" else None
    return f", teacher `{teacher}`" if teacher else ""


def _scores(scores: list[Score]) -> str:
    if not scores:
        return "No evaluation of this run had finished when the card was written."
    rows = [
        f"| {s.bench} | {s.metric} | {s.value:.1f} | {s.judge if s.judge and s.metric != 'S_l' else '-'} "
        f"| {s.answers:,} | {s.unscored:,} | `{s.run}` |"
        for s in scores
    ]
    head = "| bench | score | value | judge | answers | unscored | evaluation |\n|---|---|---|---|---|---|---|"
    return "\n".join([head, *rows])


def _licence_text(licence: Licence | None, base: str | None) -> str:
    if base is None:
        return "The weights were initialised at random; no base model's licence applies."
    if licence is None:
        return f"The licence of the base model {base} is not recorded; its terms apply to these weights."
    link = f": {licence.link}" if licence.link else "."
    return f"The licence of the base model {base} ({licence.name or licence.id}) applies to these weights{link}"


def _commit(git: Git) -> str:
    if not git.commit:
        return "not under version control"
    return f"commit {git.commit}{' with local changes' if git.dirty else ''}"
