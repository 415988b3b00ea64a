"""LongBench-Write, LongWrite-Ruler and prompts of your own as inspect_ai tasks.

inspect eval lwexp/longbench_write --model openai/gpt-4o -T path=data
inspect eval lwexp/longbench_write --model openai/gpt-4o -T quality=true --model-role grader=openai/gpt-4o-2024-05-13
inspect eval lwexp/own_prompts --model openai/gpt-4o -T path=my.jsonl
inspect score logs/<log> --scorer lwexp/length

Decoding is that of ``lwexp evaluate``; options such as ``--temperature`` change it. Epochs are repeats: inspect_ai
averages them per sample first, as lwexp does.
"""

from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model
from inspect_ai.scorer import Score, Scorer, Target, grouped, mean, scorer, stderr
from inspect_ai.solver import TaskState, generate

from lwexp.config import compose
from lwexp.extend.endpoint import AskedJudge
from lwexp.extend.metric import Marks
from lwexp.harness.prompts import load_asked
from lwexp.records import Prompt, Response
from lwexp.sample.answer_formats.inspect_log import InspectLog
from lwexp.sample.external_responses import response_to
from lwexp.score.metrics.length import LengthMetric
from lwexp.score.metrics.quality import QualityMetric
from lwexp.text.replies import UnreadableError
from lwexp.text.words import Counter

_METRICS = [mean(), stderr(), grouped(mean(), "range", all=False)]


@task
def longbench_write(
    path: str = "data",
    range: str | None = None,
    language: str | None = None,
    subset: int | None = None,
    quality: bool = False,
) -> Task:
    """LongBench-Write: 120 prompts that ask for 100 to 20,000 words.

    Args:
        path: The published file, its folder, or a hub data set.
        range: Required lengths, such as ``2k-4k`` or ``4k+``; None takes all.
        language: en or zh; None takes both.
        subset: Draws this many prompts; None takes all.
        quality: Also score S_q, by the model in the role ``grader``.
    """
    return _task("longbench_write", quality, path=path, range=range, language=language, subset=subset)


@task
def longwrite_ruler(path: str = "data", language: str | None = None, quality: bool = False) -> Task:
    """LongWrite-Ruler: 48 prompts that ask for 1,000 to 30,000 words; arguments as for ``longbench_write``."""
    return _task("longwrite_ruler", quality, path=path, language=language)


@task
def own_prompts(
    path: str,
    name: str = "own",
    range: str | None = None,
    language: str | None = None,
    subset: int | None = None,
    quality: bool = False,
) -> Task:
    """Your own prompts: rows with ``prompt`` and ``length``; other arguments as for ``longbench_write``.

    Args:
        path: A .jsonl file, or a .json file with one list.
        name: The bench's name, with which the ids of its samples begin.
    """
    return _task("jsonl", quality, path=path, name=name, range=range, language=language, subset=subset)


def _task(bench: str, with_quality: bool, **settings: object) -> Task:
    asked = load_asked(bench, settings)
    samples = [
        Sample(
            id=prompt.id,
            input=prompt.text,
            metadata={
                "required_words": prompt.required_words, "range": asked.range_of(prompt),
                "language": prompt.language, "type": prompt.type,
            },
        )
        for prompt in asked.prompts
    ]  # fmt: skip
    decoding = asked.decoding
    return Task(
        dataset=MemoryDataset(samples, name=bench),
        solver=generate(),
        scorer=[length(), quality()] if with_quality else [length()],
        config=GenerateConfig(
            temperature=decoding.temperature, top_p=decoding.top_p, max_tokens=decoding.max_new_tokens
        ),
    )


@scorer(metrics=_METRICS)
def length(counter: Counter = "longwriter") -> Scorer:
    """S_l, 0 to 100. A missing answer is unscored; an empty one scores 0.

    Args:
        counter: longwriter counts words as the paper does, unicode counts segments of Unicode (UAX 29).
    """

    async def score(state: TaskState, target: Target) -> Score:
        response = _response(state, counter)
        if response.finish_reason == "error":
            return _missing(state)
        return Score(
            value=LengthMetric().score(response),
            explanation=f"{response.words:,} words, asked for {response.required_words:,}",
            metadata={"words": response.words, "finish_reason": response.finish_reason},
        )

    return score


@scorer(metrics=_METRICS)
def quality(prompt: str | None = None, counter: Counter = "longwriter") -> Scorer:
    """S_q, 0 to 100, by the model in the role ``grader``; the question and its reading are those of ``lwexp evaluate``.

    Temperature and max_tokens are those of lwexp's judge, unless the role sets its own. If two replies cannot be read,
    the answer is unscored.

    Args:
        prompt: A file with a question of your own; None takes lwexp's.
        counter: As for ``length``.
    """
    metric = QualityMetric()
    judge_prompt = metric.judge_prompt(prompt)
    judge = compose("judge=gpt4o").judge
    assert isinstance(judge, AskedJudge)
    defaults = {"temperature": judge.temperature, "max_tokens": judge.max_tokens}

    async def score(state: TaskState, target: Target) -> Score:
        response = _response(state, counter)
        if response.finish_reason == "error":
            return _missing(state)
        if not response.text.strip():
            return _scored(metric.empty(response))
        question = metric.question(response, judge_prompt)
        grader = get_model(role="grader", required=True)
        unset = {key: value for key, value in defaults.items() if getattr(grader.config, key) is None}
        messages: list[Any] = [ChatMessageUser(content=question.text)]
        for _ in range(2):
            output = await grader.generate(messages, config=GenerateConfig(**unset))
            try:
                return _scored(question.read(output.completion))
            except UnreadableError as error:
                problem = str(error)
            messages += [output.message, ChatMessageUser(content=question.reask(problem))]
        return Score.unscored(reason="grader_failed", explanation=f"{problem}: {output.completion[:500]}")

    return score


def _scored(marks: Marks) -> Score:
    return Score(value=marks.score, metadata=dict(marks.dimensions))


def _missing(state: TaskState) -> Score:
    return Score.unscored(reason="no_response", explanation=f"no answer: stopped by {state.output.stop_reason}")


def _response(state: TaskState, counter: Counter) -> Response:
    """The answer as lwexp would read it from the log; metadata are used, so that stored logs can be scored too."""
    about = state.metadata
    prompt = Prompt(
        id=str(state.sample_id), text=state.input_text, language=about["language"], type=about["type"],
        required_words=about["required_words"],
    )  # fmt: skip
    row = {"id": prompt.id, "epoch": state.epoch, "input": prompt.text, "output": state.output.model_dump()}
    [answer] = InspectLog().answers(row)
    return response_to(prompt, answer, str(state.model), counter)
