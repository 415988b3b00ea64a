"""Finds what fits a tokenizer: the chat formats whose tokens it has, and a token to use for padding."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

from lwexp.extend import CHAT_FORMATS, ChatFormat
from lwexp.pack.template import own_template
from lwexp.records import LwexpError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger(__name__)


def default_format(tokenizer: PreTrainedTokenizerFast) -> str:
    """The tokenizer's own template, for a folder that lwexp has not saved."""
    folder = tokenizer.name_or_path or "(in memory)"
    if own_template(tokenizer) is None:
        raise LwexpError(
            f"{folder} has no chat template, and no lwexp_chat in tokenizer_config.json as an export of lwexp has; set "
            f"engine.chat={_fitting_format(tokenizer) or '<the format that the model was trained with>'}"
        )
    _log_once(f"{folder}: prompts are rendered by its own chat template")
    return "own"


def _fitting_format(tokenizer: PreTrainedTokenizerFast) -> str | None:
    """Of lwexp's formats whose tokens the tokenizer all has, the one with the most tokens; None if there is none."""
    backend = tokenizer.backend_tokenizer
    needed = {name: needed_tokens(cls()) for name, cls in CHAT_FORMATS.items() if not cls.is_own}
    fitting = [name for name, tokens in needed.items() if all(backend.token_to_id(t) is not None for t in tokens)]
    return max(fitting, key=lambda name: len(needed[name]), default=None)


def needed_tokens(format: ChatFormat) -> list[str]:
    """Tokens that a format cannot do without. Packs are not padded, so another token may stand in for padding."""
    optional = {format.pad_token} - {*format.stop_tokens, format.eos_token}
    return [token for token in format.control_tokens if token not in optional]


def advice(tokenizer: PreTrainedTokenizerFast) -> str:
    """Which ``model.chat`` fits a tokenizer."""
    fitting = _fitting_format(tokenizer)
    choices = [f"model.chat={fitting} (the tokenizer has its tokens)"] if fitting else []
    choices += ["model.chat=own (the tokenizer's own template)"] if own_template(tokenizer) is not None else []
    return f"set {' or '.join(choices) or 'model.chat to the format of the model'}"


def padding_token(tokenizer: PreTrainedTokenizerFast, format: ChatFormat) -> str:
    """The format's padding token, or another one if the tokenizer lacks it."""
    backend, added = tokenizer.backend_tokenizer, tokenizer.added_tokens_decoder.values()
    if format.pad_token and backend.token_to_id(format.pad_token) is not None:
        return format.pad_token
    reserved = [str(token) for token in added if token.special and "reserved" in str(token)]
    others = [token for token in format.stop_tokens if token != format.eos_token]
    found = next(token for token in (tokenizer.pad_token, *reserved, *others, format.eos_token) if token)
    _log_once(f"{tokenizer.name_or_path or '(in memory)'}: no padding token {format.pad_token}, so {found} stands in")
    return str(found)


@functools.cache
def _log_once(line: str) -> None:
    """Log a line once, although a run opens its tokenizer several times."""
    log.info("%s", line)
