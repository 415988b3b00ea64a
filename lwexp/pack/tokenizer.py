"""Loads a tokenizer by hub id or folder, or trains a small one, and sets its chat format."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lwexp.extend import ChatFormat
from lwexp.pack.chat import chat_format, chat_of, require_served_tokens
from lwexp.pack.encoding import reachable_as_text
from lwexp.pack.fitting import advice, default_format, needed_tokens, padding_token
from lwexp.pack.model_weights import refused_if_damaged
from lwexp.records import LwexpError, write_json
from lwexp.records.checksums import check_files

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger(__name__)

_NUMBER_WEIGHT = 20  # how often each number of a text is repeated, see ``_with_numbers``

# Line breaks are separate, so that a message has the same tokens with and without a header's line break before it; a
# word includes one leading space; digits go in groups of up to three, as in both of the paper's models.
_WORDS = r"\s*[\r\n]+| ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

_BYTES = 256  # a byte-level BPE knows every byte before its first merge
_FILES = [
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
    "generation_config.json",
]  # fmt: skip


def train_tokenizer(texts: Iterable[str], vocab_size: int, chat: str) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on texts. The same texts give the same tokenizer.

    Args:
        texts: Read once, in order.
        vocab_size: Upper bound of the vocabulary, special tokens included; little text gives fewer merges.
        chat: Name of a chat format; its special tokens get the first ids.

    Raises:
        LwexpError: If ``vocab_size`` is too small for all bytes and the special tokens.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    format = chat_format(chat, "chat format")
    smallest = _BYTES + len(format.control_tokens)
    if vocab_size < smallest:
        raise LwexpError(
            f"model.shape.vocab_size={vocab_size} is too small to train a {chat} tokenizer; set {smallest} or more"
        )
    backend = Tokenizer(models.BPE())
    words, bytes_only = Regex(_WORDS), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(words, "isolated"), bytes_only])
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(format.control_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_with_numbers(texts), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    return _with_chat(tokenizer, format)


def _with_numbers(texts: Iterable[str]) -> Iterator[str]:
    """The texts, with their numbers repeated often enough that each becomes one token.

    In GLM-4 and Llama-3 every group of up to three digits is a token. A small vocabulary would spell a rare length
    such as 350 in digits, and a small model then confuses it with 50.
    """
    for text in texts:
        yield text
        yield from re.findall(r"\d{1,3}", text) * _NUMBER_WEIGHT


def load_tokenizer(
    path: str | Path, revision: str | None = None, chat: str | ChatFormat | None = None
) -> PreTrainedTokenizerFast:
    """Open a tokenizer and give it a chat format.

    Args:
        path: A folder in Hugging Face format, or a hub id.
        revision: Hub commit, or None for the newest.
        chat: A chat format or its name; None uses the one saved with the tokenizer, or the tokenizer's own template.

    Raises:
        LwexpError: If there is no such tokenizer or the hub cannot be reached, if a special token of the format is
            missing, or if the tokenizer was saved with another format.
    """
    from transformers import PreTrainedTokenizerFast

    folder = Path(path) if Path(path).is_dir() else _fetch(str(path), revision)
    if not (folder / "tokenizer.json").is_file():
        raise LwexpError(
            f"{path} has no tokenizer.json; model.path wants a folder or hub id in the format of transformers 5 "
            f"(for GLM-4: zai-org/glm-4-9b-hf, not the repositories with remote code)"
        )
    check_files(folder, "copy the folder again, or train again with rerun=true", among=_FILES)
    # Not AutoTokenizer: it may rebuild the splitting rules from the model type instead of reading them from the file.
    with refused_if_damaged(folder, "its tokenizer"):
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    saved = tokenizer.init_kwargs.get("lwexp_chat")
    if chat is None and saved is None:
        chat = default_format(tokenizer)
    wanted = chat_format(chat, f"{path}: chat format") if isinstance(chat, str) else chat
    if wanted is not None and saved not in (None, wanted.kind):
        raise LwexpError(
            f"{path} was trained with chat format {saved}, got model.chat={wanted.kind}; set model.chat={saved}"
        )
    if wanted is not None and saved is not None:
        _require_same_settings(path, tokenizer.init_kwargs.get("lwexp_chat_settings", {}), _settings(wanted))
    format = wanted.bind(tokenizer) if wanted is not None else chat_of(tokenizer)
    had = tokenizer.chat_template
    tokenizer = _with_chat(tokenizer, format)
    if had not in (None, tokenizer.chat_template) and not format.is_own:
        log.warning(
            "%s: its own chat template is replaced by %s, the format that is trained; model.chat=own trains on it",
            path,
            format.kind,
        )
    return tokenizer


def _settings(format: ChatFormat) -> dict[str, Any]:
    """What a chat format has besides its name."""
    return format.model_dump(mode="json", exclude={"kind"})


def _require_same_settings(path: str | Path, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if name in saved and saved[name] != value:
            raise LwexpError(
                f"{path} was trained with model.chat.{name}={json.dumps(saved[name])}, got {json.dumps(value)}; "
                "set it to the same"
            )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a tokenizer in a form that transformers 4 and 5, and the servers built on them, read the same way."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # transformers 5 writes a class name and a list that 4.x does not understand; 5 still reads the older form.
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if extra := config.pop("extra_special_tokens", None):
        config["additional_special_tokens"] = extra
    write_json(path, config)


def _fetch(hub_id: str, revision: str | None) -> Path:
    """Folder with the tokenizer's files from the hub, or from its cache on this machine when offline."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    fix = "set model.path=<folder> to use a local copy"
    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=_FILES))
    except HFValidationError:
        problem = f"neither a folder on this machine nor a hub id; {fix}"
    except LocalEntryNotFoundError:
        problem = f"the hub cannot be reached and its cache has no copy; {fix}"
    except GatedRepoError:
        problem = f"access needs a licence; accept it on the hub and run `hf auth login`, or {fix}"
    except HfHubHTTPError as error:
        problem = f"the hub answered {error.response.status_code}; check model.path, or {fix}"
    raise LwexpError(f"tokenizer {hub_id}{f' at {revision}' if revision else ''}: {problem}")


def _with_chat(tokenizer: PreTrainedTokenizerFast, format: ChatFormat) -> PreTrainedTokenizerFast:
    """Set template, end and padding tokens, and make sure that message text cannot reach a control token."""
    backend = tokenizer.backend_tokenizer
    padding = padding_token(tokenizer, format)
    present = [token for token in format.control_tokens if backend.token_to_id(token) is not None]
    if missing := [token for token in needed_tokens(format) if token not in present]:
        raise LwexpError(
            f"tokenizer {tokenizer.name_or_path or '(in memory)'} lacks {', '.join(missing)}, which chat format "
            f"{format.kind} needs; {advice(tokenizer)}, or model.path to a model with these tokens"
        )
    special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    if ordinary := [token for token in present if token not in special]:
        # Encoding as text skips special tokens only, so a control token must be marked as one.
        backend.add_special_tokens(ordinary)
    if reached := reachable_as_text(tokenizer, present):
        raise LwexpError(
            f"tokenizer {tokenizer.name_or_path or '(in memory)'} reads the plain text {reached[0]!r} as that control "
            f"token even with special tokens off, so a message could end its own turn; use another tokenizer"
        )
    if format.bos_token:
        tokenizer.bos_token = format.bos_token
    tokenizer.eos_token = format.eos_token
    tokenizer.pad_token = padding
    tokenizer.chat_template = format.template
    tokenizer.init_kwargs |= {
        "lwexp_chat": format.kind,
        # Needed for sampling when the format's plugin is not loaded.
        "lwexp_control_tokens": present,
        "lwexp_stop_tokens": list(format.stop_tokens),
    }
    if settings := _settings(format):
        tokenizer.init_kwargs["lwexp_chat_settings"] = settings
    if not format.is_own:  # every conversation of an own template is compared when it is encoded
        require_served_tokens(tokenizer, format)
    return tokenizer
