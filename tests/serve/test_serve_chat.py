"""``lwexp chat`` as its user sees it."""

import io
from pathlib import Path
from typing import Any

import pytest

from lwexp.sample.engine import TransformersEngine
from lwexp.serve.chat import Conversation, main
from lwexp.text.words import count_by


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    def type_lines(*lines: str) -> None:
        piped = "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(piped), encoding="utf-8"))

    return type_lines


def test_a_conversation_in_the_terminal(llama_folder: Path, typed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    typed("Write about tea", "/reset", "Write about tea", "/sytem x", "/quit", "never reached")
    assert main([f"model={llama_folder}", "temperature=0", "max_tokens=30"]) == 0
    out, err = capsys.readouterr()
    ends = [line for line in out.splitlines() if line.startswith("[")]
    assert len(ends) == 2
    assert "30 tokens, " in ends[0]
    assert ends[0].endswith("cut at the limit]")
    first, second, _ = out.split(ends[0])[0], out.split(ends[0])[1].split(ends[1])[0], None
    assert first.strip() == second.strip()  # greedy, and /reset forgot the first turn
    assert f"[{count_by('longwriter', first.strip())} word" in ends[0]
    assert "/sytem: no such command; there are /reset, /system and /quit" in err


def test_a_byte_that_is_not_utf_8_ends_nothing(llama_folder: Path, typed: Any, capsys: Any) -> None:
    typed("tea", "caf\udce9", "tea")
    assert main([f"model={llama_folder}", "temperature=0", "max_tokens=3"]) == 0
    assert capsys.readouterr().out.count("3 tokens, ") == 3


def test_turns_are_remembered_and_a_system_message_counts(llama_folder: Path, capsys: Any) -> None:
    conversation = Conversation(TransformersEngine(llama_folder), 0, 20)
    conversation.say("Hello there")
    conversation.say("Hello there")
    answers = [message.content for message in conversation.messages if message.role == "assistant"]
    assert [message.role for message in conversation.messages] == ["user", "assistant"] * 2
    assert answers[0] != answers[1]
    conversation.reset("请写一篇关于茶的文章。")
    conversation.say("Hello there")
    assert conversation.messages[2].content != answers[0]
    shown = capsys.readouterr().out
    assert all(answer in shown for answer in answers)


def test_a_conversation_that_is_too_long_can_be_reset(
    llama_folder: Path, typed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("tea " * 600, "/reset", "tea")
    assert main([f"model={llama_folder}", "temperature=0", "max_tokens=3"]) == 0
    out, err = capsys.readouterr()
    assert "too many for the model; /reset starts over" in err
    assert out.count("[") >= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["temperature=0"], "chat: wanted run=<run directory, name, id or newest> or model=<folder>"),
        (["model=x", "temperature=hot"], "chat: temperature=hot: wanted a number from 0 on"),
        (["model=x", "temperature=nan"], "chat: temperature=nan: wanted a number from 0 on"),
        (["model=x", "max_tokens=0"], "chat: max_tokens=0: wanted a whole number from 1 on"),
        (["model=nosuch"], "nosuch holds no model (config.json is missing)"),
    ],
)
def test_mistakes_are_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1
