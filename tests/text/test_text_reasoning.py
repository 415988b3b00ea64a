"""Reasoning in front of an answer, in the forms that servers leave it in."""

import pytest

from lwexp.text.reasoning import Reasoned, split_reasoning

TEXT = "Tea is old.\n\nIt came from the hills."

WITH_REASONING = {
    "think tags": f"<think>\nShort first.\n</think>\n\n{TEXT}",
    "capitals": f"<THINK>Short first.</THINK>{TEXT}",
    "closing tag alone": f"Short first.\n</think>\n\n{TEXT}",
    "closing tag alone, on one line": f"Short first. </think> {TEXT}",
    "thinking": f"<thinking>Short first.</thinking>\n{TEXT}",
    "reasoning": f"<reasoning>Short first.</reasoning>\n{TEXT}",
    "Seed-OSS": f"<seed:think>Short first.</seed:think>{TEXT}",
    "Magistral": f"[THINK]Short first.[/THINK]{TEXT}",
    "Kimi": f"\u25c1think\u25b7Short first.\u25c1/think\u25b7{TEXT}",
    "LongWriter-Zero": f"<think>Short first.</think>\n<answer>\n{TEXT}\n</answer>",
    "answer cut off": f"<think>Short first.</think><answer>{TEXT}",
    "channels": f"<|channel|>analysis<|message|>Short first.<|end|><|start|>assistant<|channel|>final<|message|>{TEXT}",
    "channels with all tokens": "<|start|>assistant<|channel|>analysis<|message|>Short first.<|end|>"
    f"<|start|>assistant<|channel|>final<|message|>{TEXT}<|return|>",
    "channels without message marks": f"<|channel|>analysis Short first. <|channel|>final<|message|>{TEXT}",
    "channels after dropping special tokens": f"analysisShort first.assistantfinal{TEXT}",
}


@pytest.mark.parametrize("text", WITH_REASONING.values(), ids=WITH_REASONING)
def test_the_answer_is_what_stands_behind_the_reasoning(text: str) -> None:
    assert split_reasoning(text) == Reasoned(TEXT, "Short first.", is_finished=True)


def test_several_blocks_are_one_reasoning() -> None:
    text = f"<think>One.</think>\n<think>Two.</think>\n{TEXT}"
    assert split_reasoning(text) == Reasoned(TEXT, "One.\n\nTwo.", is_finished=True)
    channels = "<|channel|>analysis<|message|>One.<|end|><|channel|>commentary<|message|>Two.<|end|>"
    assert split_reasoning(f"{channels}<|channel|>final<|message|>{TEXT}").reasoning == "One.\n\nTwo."


UNFINISHED = {
    "think": "<think>Perhaps I should",
    "think again": "<think>One.</think><think>Perhaps I should",
    "Magistral": "[THINK]Perhaps I should",
    "analysis": "<|channel|>analysis<|message|>Perhaps I should",
}


@pytest.mark.parametrize("text", UNFINISHED.values(), ids=UNFINISHED)
def test_a_text_that_ends_within_its_reasoning_has_no_answer(text: str) -> None:
    split = split_reasoning(text)
    assert (split.answer, split.is_finished) == ("", False)
    assert split.reasoning.endswith("Perhaps I should")


@pytest.mark.parametrize("text", ["<|channel|>", "<|channel|>anal", "<|start|>assistant<|channel|>analysis"])
def test_a_text_cut_inside_its_first_channel_marker_has_no_answer(text: str) -> None:
    assert split_reasoning(text) == Reasoned("", "", is_finished=False)


ORDINARY = [
    "",
    TEXT,
    "  leading blanks and a last line\n",
    "Models write `<think>` first and `</think>` behind it.",
    'The closing tag "</think>" ends the thoughts.',
    "First <think> opens.\nThen </think> closes.",
    "I think, therefore I am.</thinker>",
    "An analysis: the assistant finally came.",
    "analysis of the assistantfinal exam",
    "<answer>42</answer>",
    "The <|channel|> mark of gpt-oss.",
    "<|channel|>: a mark of gpt-oss.",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_other_texts_come_back_as_they_are(text: str) -> None:
    assert split_reasoning(text) == Reasoned(text)
