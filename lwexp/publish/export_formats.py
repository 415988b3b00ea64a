"""lwexp's rows in the formats of other tools. Pure: a row in, a JSON object out; ``lwexp.mix`` reads all of them back.

    trl            {"messages": [...]}        {"prompt": [...], "chosen": [...], "rejected": [...]}
    llamafactory   {"messages": [...]}        {"conversations": [...], "chosen": {...}, "rejected": {...}}
    swift          {"messages": [...]}        {"messages": [..., chosen], "rejected_response": "..."}

One more column, ``provenance``, says where a row came from, as JSON text. It is deliberately one column of one type:
``datasets`` fails on a JSONL file whose column is null in one block and text in the next, and other tools give columns
named ``id``, ``source`` or ``system`` their own meaning.

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
    """A conversation; the format is the same for all three tools."""
    rest = row.model_dump(mode="json", exclude={"messages"}, exclude_none=True)
    return {"messages": _turns(row.messages), "provenance": json.dumps(rest, ensure_ascii=False)}


def pair_row(row: PreferencePair, format: Format) -> JsonObject:
    rest = row.model_dump(mode="json", exclude={"prompt", "chosen", "rejected"}, exclude_none=True)
    rest["prompt_sha"] = prompt_sha(row.prompt)
    chosen, rejected = (Message(role="assistant", content=text) for text in (row.chosen, row.rejected))
    found: JsonObject
    if format == "trl":
        found = {"prompt": _turns(row.prompt), "chosen": _turns([chosen]), "rejected": _turns([rejected])}
    elif format == "swift":
        found = {"messages": _turns([*row.prompt, chosen]), "rejected_response": row.rejected}
    else:
        sharegpt = [{"from": _SHAREGPT[turn.role], "value": turn.content} for turn in (*row.prompt, chosen, rejected)]
        found = {"conversations": sharegpt[:-2], "chosen": sharegpt[-2], "rejected": sharegpt[-1]}
    return {**found, "provenance": json.dumps(rest, ensure_ascii=False)}


def dataset_info(file_name: str, *, is_pairs: bool) -> JsonObject:
    """The entry of an exported file in LLaMA-Factory's dataset_info.json.

    A system text stays the first turn: LLaMA-Factory finds it by ``system_tag``, whose default is ``system``.
    """
    info = {"file_name": file_name, "formatting": "sharegpt"}
    if is_pairs:
        columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
        return {**info, "ranking": True, "columns": columns}
    tags = {f"{name}_tag": name for name in ("role", "content", "user", "assistant", "system")}
    return {**info, "columns": {"messages": "messages"}, "tags": tags}


def _turns(messages: Sequence[Message]) -> list[JsonObject]:
    return [{"role": message.role, "content": message.content} for message in messages]
