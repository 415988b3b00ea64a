"""The length probe: between two steps, training measures how long the model's answers have become.

It is not in ``train``, because ``train`` must not import ``sample`` and ``score``; ``train`` receives a function.
"""

from collections.abc import Callable
from typing import Any

from lwexp.benches.ruler import RulerBench
from lwexp.config import Config
from lwexp.extend.word_range import WordRange

ProbeRow = dict[str, Any]


def length_probe(config: Config) -> Callable[[Any, Any], list[ProbeRow]] | None:
    """A function of a plain model and its tokenizer; None if the config has no probe.

    The function answers the prompts of ``training.probe`` and returns a row for each: requested
    words, produced words, whether the answer ended by itself.
    """
    if config.training.probe.every_steps is None:
        return None

    def ask(model: Any, tokenizer: Any) -> list[ProbeRow]:
        from lwexp.benches.select import load_bench
        from lwexp.pack.chat import chat_of, encode_prompt
        from lwexp.records import Message
        from lwexp.sample.decode import DecodeRequest, decode
        from lwexp.text.words import count_words

        prompts = {prompt.id: prompt for prompt in load_bench(_ruler(config))}
        chat = chat_of(tokenizer)
        questions = [
            DecodeRequest(
                id, encode_prompt(tokenizer, chat, [Message(role="user", content=prompt.text)]).tolist(), seed=id
            )
            for id, prompt in prompts.items()
        ]
        room = int(model.config.max_position_embeddings) - max(len(question.tokens) for question in questions)
        most = min(config.training.probe.max_new_tokens, room)
        sample = config.sample.model_copy(update={"max_new_tokens": most, "repeats": 1})
        rows = []
        for answer in decode(model, questions, sample, chat.stop_ids(tokenizer)):
            prompt = prompts[answer.id]
            text = tokenizer.decode(answer.tokens, skip_special_tokens=True)
            rows.append(
                {
                    "prompt": prompt.id,
                    "requested": prompt.required_words,
                    "produced": count_words(text),
                    "ended": answer.finish_reason == "stop",
                }
            )
        return sorted(rows, key=lambda row: (row["requested"], row["prompt"]))

    return ask


def _ruler(config: Config) -> RulerBench:
    probe = config.training.probe
    return RulerBench(
        name="probe", version="1", required_words=probe.required_words, topics=probe.topics, languages=("en",),
        ranges=(WordRange(low=0, high=10**9, closed=True),), counter=config.bench.counter,
    )  # fmt: skip
