"""Talk to a model in the terminal.

    lwexp chat run=newest
    lwexp chat model=<folder in Hugging Face format> chat=llama31 temperature=0
    echo "Write a story of 300 words." | lwexp chat run=newest

run=          a training run's directory, its name or id, or newest; its exported model answers
root=         where runs live (runs)
model=        or a folder in Hugging Face format
chat=         chat format, for a tokenizer that lwexp has not saved
temperature=  0 always takes the most likely token (0.5)
max_tokens=   longest answer (until the model's positions are full)

Each line is one message; the conversation goes on until /reset. After an answer its words, tokens and speed are shown.
    /reset              forget the conversation
    /system <text>      start over with this system message
    /quit               end, as Ctrl-D does; Ctrl-C ends an answer
"""

import io
import secrets
import sys
import time
from typing import Any

from lwexp.config.evaluate import SampleConfig
from lwexp.records import LwexpError, Message
from lwexp.runs.command_line import run_command
from lwexp.serve.model_choice import chosen_model
from lwexp.text.encodable import encodable
from lwexp.text.plain import plural
from lwexp.text.words import count_by

_EXAMPLES = {
    "run": "runs/long-1a2b3c4d", "root": "runs", "model": "models/longwriter", "chat": "llama31", "temperature": "0.5",
    "max_tokens": "2000",
}  # fmt: skip


class Conversation:
    """Messages so far, and the model that answers them.

    Args:
        engine: A ``TransformersEngine``.
        temperature: 0 always takes the most likely token.
        max_tokens: Longest answer; None writes until the model's positions are full.
    """

    def __init__(self, engine: Any, temperature: float, max_tokens: int | None) -> None:
        self._engine = engine
        self._temperature = temperature
        self._max_tokens = max_tokens
        self.messages: list[Message] = []

    def reset(self, system: str = "") -> None:
        """Forget all messages, and begin with this system message if there is one."""
        self.messages = [Message(role="system", content=system)] if system else []

    def say(self, text: str) -> None:
        """Print the answer as it is written, and what it cost. After Ctrl-C the part written so far stays.

        Raises:
            LwexpError: If the conversation is longer than the model's positions.
        """
        from lwexp.pack.chat import encode_prompt

        asked = [*self.messages, Message(role="user", content=encodable(text).value)]
        tokens: list[int] = encode_prompt(self._engine.tokenizer, self._engine.chat, asked).tolist()
        left = int(self._engine.model.config.max_position_embeddings) - len(tokens)
        if left < 1:
            raise LwexpError(f"the conversation has {len(tokens):,} tokens, too many for the model; /reset starts over")
        written, count, started, end = "", 0, time.monotonic(), "stopped by Ctrl-C"
        try:
            for piece, is_token, reason in self._pieces(tokens, min(left, self._max_tokens or left)):
                count += is_token
                written += piece
                print(piece, end="", flush=True)
                end = {"length": "cut at the limit"}.get(reason, "") if reason else end
        except KeyboardInterrupt:
            pass
        self.messages = [*asked, Message(role="assistant", content=written)]
        seconds = max(time.monotonic() - started, 1e-6)
        words = plural(count_by("longwriter", written), "word")
        facts = [words, plural(count, "token"), f"{seconds:.1f} s", f"{count / seconds:.0f} tokens/s", end]
        print(f"\n[{', '.join(fact for fact in facts if fact)}]", flush=True)

    def _pieces(self, tokens: list[int], limit: int) -> Any:
        """Text, whether a token came with it, and why the answer ended, once it has."""
        from lwexp.sample.decode import Decoder, DecodeRequest
        from lwexp.serve.text_stream import TextStream

        sample = SampleConfig(
            temperature=self._temperature, max_new_tokens=limit, repeats=1, batch_size=1, plan_first=False
        )  # fmt: skip
        decoder = Decoder(self._engine.model, 1, self._engine.chat.stop_ids(self._engine.tokenizer))
        text = TextStream(self._engine.tokenizer, ())
        with self._engine.threads():
            decoder.admit([DecodeRequest("answer", tokens, seed=secrets.token_hex(8))], sample)
            while decoder.is_busy:
                ((_, token, reason),) = decoder.choose()
                yield (text.add(token) if token is not None else ""), token is not None, reason
                decoder.advance()
            yield text.finish(), False, reason


def main(arguments: list[str]) -> int:
    """Talk until the end of the input. Returns the exit code."""
    return run_command("chat", arguments, __doc__ or "", _EXAMPLES, _chat)


def _chat(options: dict[str, str]) -> None:
    temperature, max_tokens = _temperature(options.get("temperature", "0.5")), options.get("max_tokens")
    if max_tokens is not None and (not max_tokens.isdecimal() or int(max_tokens) < 1):
        raise LwexpError(f"chat: max_tokens={max_tokens}: wanted a whole number from 1 on, such as max_tokens=2000")
    folder, name = chosen_model("chat", options)
    from lwexp.sample.engine import TransformersEngine  # torch takes seconds to load, --help must not

    engine = TransformersEngine(folder, chat=options.get("chat"))
    conversation = Conversation(engine, temperature, int(max_tokens) if max_tokens else None)
    print(f"{name}; /reset, /system <text>, /quit", file=sys.stderr, flush=True)
    if isinstance(sys.stdin, io.TextIOWrapper):  # before the first read; later it is refused
        sys.stdin.reconfigure(errors="replace")  # a byte that is not UTF-8 would end the conversation
    while (line := _next_line()) is not None:
        command, _, rest = line.partition(" ")
        if command == "/quit":
            return
        if command in ("/reset", "/system"):
            conversation.reset(rest.strip())
        elif command.startswith("/"):
            print(f"{command}: no such command; there are /reset, /system and /quit", file=sys.stderr)
        elif line:
            try:
                conversation.say(line)
            except LwexpError as error:
                print(f"error: {error}", file=sys.stderr)


def _next_line() -> str | None:
    """None at the end of the input."""
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return None


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise LwexpError(f"chat: temperature={text}: wanted a number from 0 on, such as temperature=0.5")
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
