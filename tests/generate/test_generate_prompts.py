"""Templates: one pass, all placeholders, ours and a user's folder."""

from __future__ import annotations

from itertools import pairwise, permutations
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.config.data import GenerateConfig
from lwexp.generate.prompts import load_templates
from lwexp.generate.write import step_prompt
from lwexp.records import Instruction, Language, LwexpError, Plan, PlanStep
from lwexp.text.plan_text import plan_line
from lwexp.text.quoting import fill


def generate_config(*overrides: str) -> GenerateConfig:
    return compose(*overrides).generate


def folder_with(tmp_path: Path, **changes: str) -> Path:
    files = {
        "plan_en": "$INST$",
        "plan_zh": "$INST$",
        "write_en": "$INST$ $PLAN$ $TEXT$ $STEP$",
        "write_zh": "$INST$ $PLAN$ $TEXT$ $STEP$",
    }
    for name, text in {**files, **changes}.items():
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    return tmp_path


def test_values_that_look_like_placeholders_stay_as_they_are() -> None:
    names = ("INST", "PLAN", "TEXT", "STEP")
    for order in permutations(names):
        values = {name: f"<${other}$>" for name, other in zip(names, order, strict=True)}
        filled = fill("$INST$|$PLAN$|$TEXT$|$STEP$", values)
        assert filled == "|".join(values[name] for name in names)


def test_chained_replacing_would_have_leaked() -> None:
    """Negative control: what ``fill`` must not do."""
    values = {"INST": "$PLAN$", "PLAN": "secret"}
    chained = "$INST$"
    for name, value in values.items():
        chained = chained.replace(f"${name}$", value)
    assert chained == "secret"
    assert fill("$INST$", values) == "$PLAN$"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_ours_put_what_grows_behind_what_stays(language: str) -> None:
    """Provider prefix caches need instruction and plan before the growing text, and the step last."""
    write = load_templates(generate_config())[language].write  # type: ignore[index]
    places = [write.index(slot) for slot in ("$INST$", "$PLAN$", "$TEXT$", "$STEP$")]
    assert places == sorted(places)
    assert write.endswith("$STEP$\n</step>")


def test_a_users_folder_is_read(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, plan_en="Plan this: $INST$")
    assert load_templates(generate_config(f"generate.prompts={folder}"))["en"].plan == "Plan this: $INST$"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_next_prompt_begins_with_the_last_one_up_to_the_end_of_the_text(language: Language) -> None:
    """What a provider's prefix cache needs, byte for byte: only the text grows, and the step stands behind it."""
    template = load_templates(generate_config())[language].write
    plan = Plan(text="the plan", steps=tuple(PlanStep(point=f"p{i}", words=100) for i in range(3)))
    instruction = Instruction(id="i", text="about tea $TEXT$", language=language, source="s")
    paragraphs = ["One  paragraph,\nwith $STEP$ in it.", "Two."]
    prompts = [
        step_prompt(template, instruction, plan, number, "\n\n".join(paragraphs[: number - 1])) for number in (1, 2, 3)
    ]
    for number, (earlier, later) in enumerate(pairwise(prompts), 1):
        text = "\n\n".join(paragraphs[: number - 1])
        up_to_the_text = earlier[: earlier.rindex("\n</written>")]
        assert up_to_the_text.endswith(text)
        assert later.startswith(up_to_the_text)
        assert not later.startswith(earlier)  # the step differs, or the test would prove nothing


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"write_zh": "$INST$ $PLAN$ $TEXT$"}, r"write_zh\.txt lacks the placeholder \$STEP\$"),
        ({"plan_en": "no slot"}, r"plan_en\.txt lacks the placeholder \$INST\$"),
        ({"plan_en": "$INST$ $INSTRUCTION$"}, r"unknown placeholder \$INSTRUCTION\$"),
    ],
)
def test_a_folder_with_a_mistake_is_refused(changes: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match=message):
        load_templates(generate_config(f"generate.prompts={folder_with(tmp_path, **changes)}"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match=r"plan_en\.txt does not exist"):
        load_templates(generate_config(f"generate.prompts={tmp_path}"))


def test_parallel_writing_needs_no_text_so_far(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, write_en="$INST$ $PLAN$ $STEP$", write_zh="$INST$ $PLAN$ $STEP$")
    load_templates(generate_config(f"generate.prompts={folder}", "generate.mode=parallel"))
    with pytest.raises(LwexpError, match=r"lacks the placeholder \$TEXT\$"):
        load_templates(generate_config(f"generate.prompts={folder}"))


def test_a_step_is_told_in_the_plans_format() -> None:
    assert plan_line(2, "A", 400, "en") == "Paragraph 2 - Main Point: A - Word Count: 400 words"
    assert plan_line(2, "A", 400, "zh") == "段落2 - 主要内容：A - 字数：400字"
