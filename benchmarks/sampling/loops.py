"""The systems that decode in this process: lwexp's loop, and transformers' ``generate`` and continuous batching."""

from __future__ import annotations

from typing import Any

from benchmarks.sampling.task import Answers, Task, timed, until_stop

_BLOCK = 256  # positions of a block of transformers' paged cache


def ours(task: Task, number_format: str) -> dict[str, Any]:
    """lwexp's loop."""
    from lwexp.sample.decode import DecodeRequest, decode

    engine = task.engine(number_format)
    requests = [DecodeRequest(id, tokens, seed=id) for id, tokens in task.encoded(engine).items()]
    stops = engine.chat.stop_ids(engine.tokenizer)

    def answers() -> Answers:
        return {done.id: done.tokens for done in decode(engine.model, requests, task.sampling(), stops)}

    return timed(answers)


def generate(task: Task, number_format: str, rows: int) -> dict[str, Any]:
    """transformers' ``generate``, ``rows`` prompts at a time, padded on the left, long answers together."""
    import torch

    engine = task.engine(number_format)
    encoded = task.encoded(engine)
    stops = list(engine.chat.stop_ids(engine.tokenizer))

    def answers() -> Answers:
        found: Answers = {}
        ids = list(encoded)
        for start in range(0, len(ids), rows):
            part = ids[start : start + rows]
            width = max(len(encoded[id]) for id in part)
            tokens = torch.tensor([[0] * (width - len(encoded[id])) + encoded[id] for id in part])
            mask = torch.tensor([[0] * (width - len(encoded[id])) + [1] * len(encoded[id]) for id in part])
            with torch.inference_mode():
                given = engine.model.generate(
                    tokens, attention_mask=mask, do_sample=False, max_new_tokens=task.most, eos_token_id=stops,
                    pad_token_id=0,
                )  # fmt: skip
            found |= {id: until_stop(row[width:].tolist(), stops) for id, row in zip(part, given, strict=True)}
        return found

    return timed(answers)


def continuous(task: Task) -> dict[str, Any]:
    """transformers' continuous batching, all requests at once."""
    from transformers import GenerationConfig
    from transformers.generation.configuration_utils import ContinuousBatchingConfig

    engine = task.engine("float32")
    encoded = task.encoded(engine)
    stops = list(engine.chat.stop_ids(engine.tokenizer))
    settings = GenerationConfig(do_sample=False, max_new_tokens=task.most, eos_token_id=stops, pad_token_id=0)
    longest = max(map(len, encoded.values())) + task.most
    batching = ContinuousBatchingConfig(
        num_blocks=-(-longest // _BLOCK) * len(encoded), max_batch_tokens=4096, max_requests_per_batch=len(encoded),
        allow_block_sharing=False,
    )  # fmt: skip

    def answers() -> Answers:
        given = engine.model.generate_batch(
            list(encoded.values()), generation_config=settings, continuous_batching_config=batching
        )
        by_prompt = {tuple(output.prompt_ids): output.generated_tokens for output in given.values()}
        return {id: until_stop(by_prompt[tuple(tokens)], stops) for id, tokens in encoded.items()}

    return timed(answers)
