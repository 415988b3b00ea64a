"""Turns the tokens of an answer into text while they arrive."""

from collections.abc import Sequence
from typing import Any

from tokenizers.decoders import DecodeStream


class TextStream:
    """The part of the text that later tokens cannot change. Whitespace at both ends is left out, as in evaluations.

    Args:
        tokenizer: A fast tokenizer of transformers.
        stops: The answer ends before the first of these, which may be spread over several tokens.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._decoded = 0  # characters
        self._stream = DecodeStream(skip_special_tokens=True)
        self._stops = stops
        self._pending = ""
        self._has_begun = False
        self.is_stopped = False
        """Whether one of ``stops`` was met."""

    def add(self, token: int) -> str:
        """The text that this token makes final: it cannot belong to a stop string or to trailing whitespace."""
        self._tokens.append(token)
        new = self._stream.step(self._tokenizer.backend_tokenizer, token) or ""
        self._decoded += len(new)
        self._pending += new
        if not self._has_begun:
            self._pending = self._pending.lstrip()
            self._has_begun = bool(self._pending)
        places = [place for stop in self._stops if (place := self._pending.find(stop)) >= 0]
        if places:
            self.is_stopped = True
            return self._take(self._pending[: min(places)].rstrip(), rest="")
        certain = self._pending[: len(self._pending) - self._possible_stop()].rstrip()
        return self._take(certain, rest=self._pending[len(certain) :])

    def finish(self) -> str:
        """The rest of the text, which was held back until the answer ended."""
        if self.is_stopped:
            return ""
        # The stream waits for the rest of an incomplete character; the whole text has a replacement character there.
        whole: str = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
        return self._take((self._pending + whole[self._decoded :]).rstrip(), rest="")

    def _take(self, text: str, rest: str) -> str:
        self._pending = rest
        return text

    def _possible_stop(self) -> int:
        """Characters at the end that may be the beginning of a stop."""
        longest = 0
        for stop in self._stops:
            for size in range(min(len(stop) - 1, len(self._pending)), longest, -1):
                if self._pending.endswith(stop[:size]):
                    longest = size
                    break
        return longest
