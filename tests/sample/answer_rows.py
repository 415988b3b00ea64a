"""Answers in the shape of each tool's file.

The rows are written by hand after the code that the docstring of each format names.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from lwexp.records import Prompt, Response
from lwexp.sample.external_responses import read_responses

TEA, RAIN = "Write 10 words\non tea.", "Write 20 words on rain."
PROMPTS = [
    Prompt(id=id, text=text, language="en", type="t", required_words=words)
    for id, text, words in (("b-1", TEA, 10), ("b-2", RAIN, 20))
]


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read(path: Path, content: str | bytes) -> list[Response]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_responses(path, PROMPTS, bench="b")


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def lm_eval(prompt: Any, text: str, *, filter: str = "none") -> dict[str, Any]:
    return {
        "doc_id": 0, "doc": {"id": 7, "prompt": "unused"}, "target": "", "resps": [[text]], "filtered_resps": [text],
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": ["\n"]}}}, "filter": filter,
        "metrics": ["S_l"], "doc_hash": "0", "prompt_hash": "0", "target_hash": "0", "S_l": 50.0,
    }  # fmt: skip


def evalscope(index: int, prompt: str, content: Any, stop: str = "stop") -> dict[str, Any]:
    answer = {"role": "assistant", "content": content, "source": "generate"}
    return {
        "index": index, "model": "qwen", "messages": [{"role": "system", "content": "Be kind."}, user(prompt), answer],
        "model_output": {"model": "qwen", "choices": [{"message": answer, "stop_reason": stop}], "error": None},
        "agent_trace": None, "metadata": {},
    }  # fmt: skip


def sample(id: int | str, prompt: Any, content: Any, stop: str = "stop") -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "source": "generate"}
    output = {"model": "openai/x", "choices": [{"message": message, "stop_reason": stop}], "completion": "unused"}
    return {"id": id, "epoch": 1, "input": prompt, "target": "", "messages": [], "output": output, "scores": {}}


def batch(custom_id: str, text: str | None, finish: str = "stop", **message: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt", "choices": [choice]}
    return {
        "id": "batch_req_1", "custom_id": custom_id, "error": None,
        "response": {"status_code": 200, "request_id": "r", "body": body},
    }  # fmt: skip


FAILED = {"id": "batch_req_2", "custom_id": "b/b-2", "response": None, "error": {"code": "batch_expired"}}
_HEAD = "<|start_header_id|>{}<|end_header_id|>\n\n"
LLAMA3 = f"<|begin_of_text|>{_HEAD.format('user')}{{}}<|eot_id|>{_HEAD.format('assistant')}"
QWEN = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
LLAMA2 = "<s>[INST] {} [/INST]"
# Format -> file name and content. Each says "a b" to the first prompt, and "c", cut by the token limit if the format
# can say so, to the second; rows are not in the bench's order.
FILES: dict[str, tuple[str, str]] = {
    "the release's": ("pred.jsonl", lines(
        {"prompt": RAIN, "type": "t", "length": 20, "response_length": 9, "response": "c"},
        {"prompt": TEA, "type": "t", "length": 10, "response_length": 9, "response": "a b"},
    )),
    "EvalScope 1.x": ("b_default.jsonl", lines(
        evalscope(0, RAIN, "c", "max_tokens"),
        evalscope(1, TEA, [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "a b"}]),
    )),
    "lm-evaluation-harness": ("samples_b_2026-11-29.jsonl", lines(
        lm_eval(QWEN.format(RAIN), "c"), lm_eval([json.dumps([user(TEA)])], "a b"),
        lm_eval(QWEN.format(RAIN), "c", filter="strict"), lm_eval([json.dumps([user(TEA)])], "a b", filter="strict"),
    )),
    "inspect_ai": ("log.json", json.dumps({
        "version": 2, "status": "success", "eval": {"task": "b", "model": "openai/x"},
        "samples": [sample(1, RAIN, "c", "max_tokens"), sample(2, [user(TEA)], "a b")],
    }, indent=1)),
    "OpenAI batch": ("output.jsonl", lines(
        batch("b/b-2", "c", "length"), batch("b/b-1", "a b", reasoning_content="Hm."),
    )),
    "ms-swift 4": ("infer.jsonl", lines(
        {"response": "c", "labels": None, "logprobs": None, "messages": [user(RAIN), said("c")]},
        {"response": "a b", "labels": None, "messages": [user(TEA), said("a b")]},
    )),
    "ms-swift 2": ("infer2.jsonl", lines(
        {"system": None, "query": RAIN, "response": "c", "label": None, "history": []},
        {"system": None, "query": TEA, "response": "a b", "label": None, "history": []},
    )),
    "LLaMA-Factory": ("generated_predictions.jsonl", lines(
        {"prompt": LLAMA3.format(RAIN), "predict": "c", "label": ""},
        {"prompt": LLAMA2.format(TEA), "predict": "a b", "label": ""},
    )),
    "OpenCompass": ("b.json", json.dumps({
        "0": {"origin_prompt": [{"role": "HUMAN", "prompt": RAIN}], "prediction": "c", "gold": "x"},
        "1": {"origin_prompt": TEA, "prediction": "a b"},
    }, indent=4)),
    "sharegpt": ("chat.jsonl", lines(
        {"conversations": [{"from": "human", "value": RAIN}, {"from": "gpt", "value": "c"}]},
        {"conversations": [{"from": "human", "value": TEA}, {"from": "gpt", "value": "a b"}]},
    )),
    "JSON list": ("list.json", json.dumps(
        [{"prompt": RAIN, "generation": "c"}, {"question": TEA, "generated_text": "a b"}]
    )),
}  # fmt: skip


def in_archive(compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("header.json", "{}")
        archive.writestr("samples/1_epoch_1.json", json.dumps(sample(1, RAIN, "c")))
        archive.writestr("samples/2_epoch_1.json", json.dumps(sample(2, TEA, "a b")))
    return out.getvalue()
