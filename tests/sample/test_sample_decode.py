"""Batched decoding compared with transformers' generate, and with itself in other batches."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lwexp.config import compose
from lwexp.config.evaluate import SampleConfig
from lwexp.records import LwexpError, Prompt
from lwexp.sample.decode import Decoder, DecodeRequest, DecodeResult, decode
from lwexp.sample.engine import TransformersEngine
from lwexp.sample.requests import SampleRequest

# Lengths 1 to 40, so that slots are out of step.
PROMPTS = [[(7 * n + k) % 250 + 10 for k in range(1 + (n * 13) % 40)] for n in range(9)]


def sampling(**changes: Any) -> SampleConfig:
    plain = {"temperature": 0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0, "max_new_tokens": 40}
    return compose().sample.model_copy(update={**plain, "repeats": 1, "batch_size": 4, **changes})


def answers(model: Any, sample: SampleConfig, stops: tuple[int, ...] = (), order: int = 1) -> dict[str, DecodeResult]:
    questions = [DecodeRequest(f"q{n}", tokens, seed=f"0|q{n}") for n, tokens in enumerate(PROMPTS)][::order]
    return {done.id: done for done in decode(model, questions, sample, stops)}


@pytest.fixture(scope="module", params=["glm", "llama"])
def model(request: pytest.FixtureRequest) -> Any:
    return TransformersEngine(request.getfixturevalue(f"{request.param}_folder")).model


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_answers_equal_those_of_transformers_generate(
    model: Any, penalty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 20 positions to spare, the reserved cache has to grow several times."""
    monkeypatch.setattr("lwexp.sample.cache._SPARE", 20)
    ours = answers(model, sampling(max_new_tokens=70, repetition_penalty=penalty))
    for n, tokens in enumerate(PROMPTS):
        theirs = model.generate(
            torch.tensor([tokens]), attention_mask=torch.ones(1, len(tokens), dtype=torch.long), do_sample=False,
            max_new_tokens=70, repetition_penalty=penalty, pad_token_id=0,
        )  # fmt: skip
        assert ours[f"q{n}"].tokens == theirs[0, len(tokens) :].tolist()
        assert ours[f"q{n}"].finish_reason == "length"
    assert len({tuple(done.tokens) for done in ours.values()}) == len(PROMPTS)  # not one answer for all


def test_an_answer_depends_neither_on_its_company_nor_on_the_order(model: Any) -> None:
    warm = {"temperature": 0.9, "top_p": 0.95, "top_k": 50, "repetition_penalty": 1.1}
    stops = tuple(range(11, 26))
    alone = answers(model, sampling(batch_size=1, **warm), stops)
    assert len({len(done.tokens) for done in alone.values()}) > 3  # slots are freed at different times
    for size, order in ((2, 1), (4, -1), (64, 1)):
        assert answers(model, sampling(batch_size=size, **warm), stops, order) == alone


def test_answers_with_different_settings_share_steps_without_touching_each_other(model: Any) -> None:
    """Admitted one by one while others are being written; one is dropped on the way."""
    settings = [
        sampling(), sampling(temperature=0.9, top_p=0.9), sampling(temperature=0.9, top_k=20, repetition_penalty=1.3),
        sampling(repetition_penalty=1.3, max_new_tokens=25), sampling(temperature=0.5),
    ]  # fmt: skip
    questions = [DecodeRequest(f"q{n}", PROMPTS[n], seed=f"0|q{n}") for n in range(5)]
    alone = {}
    for question, sample in zip(questions, settings, strict=True):
        (done,) = decode(model, [question], sample, [])
        alone[question.id] = done
    decoder = Decoder(model, 8, [])
    tokens: dict[str, list[int]] = {question.id: [] for question in questions}
    reasons: dict[str, str | None] = {}
    for step in range(60):
        if step < 5:
            decoder.admit([questions[step]], settings[step])
        for id, token, reason in decoder.choose():
            tokens[id] += [] if token is None else [token]
            reasons[id] = reason
        if step == 10:
            decoder.drop("q1")
        decoder.advance()
    assert not decoder.is_busy
    assert reasons.pop("q1") is None
    assert tokens.pop("q1") == alone["q1"].tokens[:10]
    for id, given in tokens.items():
        assert DecodeResult(id, given, "length") == alone[id]
    assert reasons == dict.fromkeys(tokens, "length")


def test_another_seed_gives_another_answer(model: Any) -> None:
    """Negative control of the test above."""
    question = DecodeRequest("q", PROMPTS[3], seed="0|q")
    sample = sampling(temperature=0.9)
    (first,) = decode(model, [question], sample, [])
    (again,) = decode(model, [question], sample, [])
    (other,) = decode(model, [question._replace(seed="1|q")], sample, [])
    assert first == again
    assert first.tokens != other.tokens


def test_an_answer_ends_before_its_stop_token_or_at_the_limit(model: Any) -> None:
    unstopped = answers(model, sampling())
    stop = unstopped["q3"].tokens[5]
    stopped = answers(model, sampling(), (stop,))
    cut = unstopped["q3"].tokens.index(stop)
    assert stopped["q3"] == DecodeResult("q3", unstopped["q3"].tokens[:cut], "stop")
    for id, done in stopped.items():
        assert stop not in done.tokens
        assert done.finish_reason == ("stop" if stop in unstopped[id].tokens else "length")
    assert all(len(done.tokens) == 40 for done in stopped.values() if done.finish_reason == "length")


def test_a_stop_at_once_is_an_empty_answer(model: Any) -> None:
    first = answers(model, sampling())["q0"].tokens[0]
    assert answers(model, sampling(), (first,))["q0"] == DecodeResult("q0", [], "stop")


def prompt(text: str, words: int = 10) -> Prompt:
    return Prompt(id=f"p-{text[:5]}", text=text, language="en", type="t", required_words=words)


def test_the_engine_speaks_the_saved_chat_format_and_stops_at_its_tokens(glm_folder: Path) -> None:
    engine = TransformersEngine(glm_folder)
    asks = [SampleRequest(f"{n}", prompt(text), seed=0) for n, text in enumerate(["Hello", "你好"])]
    texts = {answer.id: answer.text for answer in engine.answers(asks, sampling(temperature=1.0))}
    ids = engine._encode(prompt("Hello"))
    assert engine.tokenizer.decode(ids) == "[gMASK]<sop><|user|>\nHello<|assistant|>"
    wanted = {engine.tokenizer.convert_tokens_to_ids(t) for t in ("<|endoftext|>", "<|user|>", "<|observation|>")}
    assert set(engine.chat.stop_ids(engine.tokenizer)) == wanted
    assert set(texts) == {"0", "1"}
    assert all(text == text.strip() for text in texts.values())


def test_a_small_model_decodes_in_float64(glm_folder: Path) -> None:
    """In float32 about one answer of 300 tokens in a hundred changed with the batch size; too rare to test here."""
    assert TransformersEngine(glm_folder).model.dtype == torch.float64


def test_threads_are_given_back(glm_folder: Path) -> None:
    torch.set_num_threads(2)
    engine = TransformersEngine(glm_folder)
    list(engine.answers([SampleRequest("0", prompt("Hello"), seed=0)], sampling(max_new_tokens=2)))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


def test_more_tokens_than_positions_are_refused_with_the_number_that_fits(glm_folder: Path) -> None:
    engine = TransformersEngine(glm_folder)
    length = len(engine._encode(prompt("Hello")))
    fits = 512 - length
    with pytest.raises(LwexpError, match=rf"max_new_tokens={fits + 1} .*set sample\.max_new_tokens={fits} or less"):
        list(engine.answers([SampleRequest("0", prompt("Hello"), seed=0)], sampling(max_new_tokens=fits + 1)))
    (answer,) = engine.answers([SampleRequest("0", prompt("Hello"), seed=0)], sampling(max_new_tokens=fits))
    assert answer.finish_reason in ("stop", "length")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match="holds no model"):
        TransformersEngine(tmp_path)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), float("-inf")])
@pytest.mark.parametrize("temperature", [0, 0.5])
def test_one_logit_that_is_not_finite_is_an_error(
    model: Any, value: float, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sampled token's own logit may be finite beside it."""
    from lwexp.sample import decode as module

    step = module._step

    def broken(*words: Any) -> Any:
        logits = step(*words)
        logits[0, 7] = value
        return logits

    monkeypatch.setattr(module, "_step", broken)
    with pytest.raises(LwexpError, match="not finite"):
        list(decode(model, [DecodeRequest("q", PROMPTS[3], seed="0|q")], sampling(temperature=temperature), []))


def test_a_loop_is_stopped_where_it_is_found_whatever_the_company(model: Any) -> None:
    """A penalty below 1 makes seen tokens likelier, so answers soon repeat themselves. An answer is stopped at the
    first multiple of 32 tokens at which 64 or more are repeats, and is the beginning of the one that goes on."""
    looping = {"repetition_penalty": 0.2, "max_new_tokens": 100}
    whole = answers(model, sampling(**looping))
    stopped = answers(model, sampling(stop_after_repeats=3, **looping))
    loops = {id for id, done in stopped.items() if done.finish_reason == "loop"}
    assert loops
    for id in loops:
        assert stopped[id].tokens == whole[id].tokens[: len(stopped[id].tokens)]
        assert len(stopped[id].tokens) in (64, 96)
    assert {id: done for id, done in stopped.items() if id not in loops} == {
        id: done for id, done in whole.items() if id not in loops
    }
    assert answers(model, sampling(stop_after_repeats=3, batch_size=1, **looping)) == stopped
