"""lwexp's rows in the shapes of other tools. Pure: a row in, a JSON object out; ``lwexp.mix`` reads all of them back.

    trl            {"messages": [...]}        {"prompt": [...], "chosen": [...], "rejected": [...]}
    llamafactory   {"messages": [...]}        {"conversations": [...], "chosen": {...}, "rejected": {...}}
    swift          {"messages": [...]}        {"messages": [..., chosen], "rejected_response": "..."}

Where a row came from stands in one more column, ``provenance``, as JSON text. It is one column of one type on
purpose: ``datasets`` fails on a JSONL file whose column is null in one block and text in the next, and no other
tool gives columns named ``id``, ``source`` or ``system`` a meaning of its own this way.

Source: TRL docs/source/dataset_formats.md, LLaMA-Factory data/README.md, ms-swift Custom-dataset.md.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal

from lwexp.records import Conversation, Message, PreferencePair, prompt_sha

Format = Literal["trl", "llamafactory", "swift"]
JsonObject = dict[str, Any]

_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt"}


def conversation_row(row: Conversation) -> JsonObject:
    """A conversation; the three tools agree on its shape."""
    rest = row.model_dump(mode="json", exclude={"messages"}, exclude_none=True)
    return {"messages": _turns(row.messages), "provenance": _as_text(rest)}


def pair_row(row: PreferencePair, format: Format) -> JsonObject:
    rest = row.model_dump(mode="json", exclude={"prompt", "chosen", "rejected"}, exclude_none=True)
    provenance = {"provenance": _as_text({**rest, "prompt_sha": prompt_sha(row.prompt)})}
    if format == "trl":
        answers = {name: [_answer(text)] for name, text in (("chosen", row.chosen), ("rejected", row.rejected))}
        return {"prompt": _turns(row.prompt), **answers, **provenance}
    if format == "swift":
        return {"messages": [*_turns(row.prompt), _answer(row.chosen)], "rejected_response": row.rejected, **provenance}
    turns = [{"from": _SHAREGPT[message.role], "value": message.content} for message in row.prompt]
    return {
        "conversations": turns,
        "chosen": {"from": "gpt", "value": row.chosen},
        "rejected": {"from": "gpt", "value": row.rejected},
        **provenance,
    }


def dataset_info(file_name: str, *, is_pairs: bool) -> JsonObject:
    """What LLaMA-Factory's dataset_info.json must say about an exported file.

    A system text stays the first turn: LLaMA-Factory finds it by ``system_tag``, whose default is ``system``.
    """
    if is_pairs:
        columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
        return {"file_name": file_name, "formatting": "sharegpt", "ranking": True, "columns": columns}
    return {
        "file_name": file_name,
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {f"{name}_tag": name for name in ("role", "content", "user", "assistant", "system")},
    }


def _turns(messages: Sequence[Message]) -> list[JsonObject]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _answer(text: str) -> JsonObject:
    return {"role": "assistant", "content": text}


def _as_text(values: JsonObject) -> str:
    return json.dumps(values, ensure_ascii=False)
