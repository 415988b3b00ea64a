"""Converts a GGUF file, the format of llama.cpp, into a folder that transformers, training and evaluation can read."""

import hashlib
import logging
import math
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from lwexp.pack.model_weights import load_weights
from lwexp.records import LwexpError, atomic
from lwexp.records.checksums import write_checksums
from lwexp.text.plain import first_line

log = logging.getLogger(__name__)

CARD_MARK = "Converted by lwexp from"
"""In README.md of every conversion; only a folder with it may be replaced."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

# Rules by which a byte-level BPE splits text before it merges. GGUF gives only a rule's name, and a wrong rule gives
# other tokens without an error. transformers rebuilds the rules in its own table; these two are its default, GPT-2's.
_GPT2_RULES = ("gpt-2", "default")
# SmolLM's rule: GPT-2's, after a split at every digit. Source: llama.cpp src/llama-vocab.cpp,
# LLAMA_VOCAB_PRE_TYPE_SMOLLM, and the tokenizer.json of HuggingFaceTB/SmolLM2-135M-Instruct.
_SMOLLM_RULE = "smollm"
# Qwen composes characters (NFC) before it splits; transformers rebuilds the split alone. Source: transformers'
# models/qwen2/tokenization_qwen2.py.
_QWEN_RULE = "qwen2"


def convert_gguf(gguf: Path, folder: Path, *, dtype: str = "float32", tokenizer: str | None = None) -> None:
    """Write the model of a GGUF file as a folder with config, weights, tokenizer, chat template and card.

    Quantised weights are dequantised, but keep the rounding of the file: they are close to the published bf16 weights,
    not equal to them.

    Args:
        gguf: The file. transformers cannot read a model that is split into several files.
        folder: Replaced if it exists.
        dtype: Number format of the weights, a key of ``DTYPES``. float32 keeps every bit of the file's numbers.
        tokenizer: Folder or hub id of the tokenizer; None rebuilds it from the file.

    Raises:
        LwexpError: If the package gguf is not installed, transformers cannot read the file's architecture or
            quantisation, or would lose its rotary scaling or base, its tokenizer cannot be rebuilt exactly, or the
            folder cannot be written.
    """
    facts = read_facts(gguf)
    if facts["lost"]:
        raise LwexpError(
            f"gguf={gguf}: its rotary scaling ({', '.join(facts['lost'])}) is not read by transformers, so the model "
            f"would be another one; use the original folder"
        )
    words = _given_tokenizer(tokenizer) if tokenizer else _own_tokenizer(gguf, facts)
    model = _dense_model(gguf, DTYPES[dtype])
    _require_theta(gguf, facts["theta"], model.config)
    try:
        with atomic(folder) as new:
            model.save_pretrained(new)
            words.save_pretrained(new)
            (new / "README.md").write_text(_card(gguf, facts, dtype), encoding="utf-8")
            load_weights(new, dtype="auto")  # refuses missing weights or NaN before the folder is renamed
            write_checksums(new, folder)
    except OSError as error:
        raise LwexpError(f"out={folder}: cannot write the model: {error.strerror or error}; free some space") from None
    log.info("%s: %s, %s weights", folder, facts["name"], dtype)


def read_facts(gguf: Path) -> dict[str, Any]:
    """What the header says: name, architecture, licence, the tokenizer's type and rule, tensors per number format.

    ``theta`` is the base of the rotary frequencies, None if the file has none. ``lost`` names the tensors and keys of
    rotary scaling: transformers ignores them, and positions would then mean something else without an error.

    Raises:
        LwexpError: If the file does not exist or is not a GGUF file, or the package gguf is not installed.
    """
    if not gguf.is_file():
        raise LwexpError(f"gguf={gguf}: no such file; correct the path")
    if find_spec("gguf") is None:
        raise LwexpError("packages: reading GGUF needs gguf; pip install 'lwexp[real]'")
    from gguf import GGUFReader

    try:
        reader = GGUFReader(gguf)
    except (ValueError, OSError, IndexError) as error:
        raise LwexpError(f"gguf={gguf}: not a GGUF file that can be read: {first_line(error)}") from None
    keys = {
        "name": "general.name", "architecture": "general.architecture", "license": "general.license",
        "tokenizer": "tokenizer.ggml.model", "rule": "tokenizer.ggml.pre",
    }  # fmt: skip
    facts = {name: field.contents() if (field := reader.get_field(key)) else None for name, key in keys.items()}
    base = reader.get_field(f"{facts['architecture']}.rope.freq_base")
    # Source: llama.cpp gguf-py/gguf/constants.py, ROPE_FREQS (Llama 3.1), ROPE_FACTORS_LONG (Phi-3), SCALING_TYPE.
    lost = [tensor.name for tensor in reader.tensors if tensor.name.startswith(("rope_freqs", "rope_factors"))]
    lost += [
        f"{key}={field.contents()}"
        for key, field in reader.fields.items()
        if key.endswith(".rope.scaling.type") and field.contents() != "none"
    ]
    formats = Counter(tensor.tensor_type.name for tensor in reader.tensors)
    return facts | {
        "theta": base.contents() if base else None,
        "lost": lost,
        "formats": dict(formats.most_common()),
    }


def _dense_model(gguf: Path, dtype: torch.dtype) -> Any:
    """The file's model with dequantised weights, independent of the kernels that this machine has."""
    from transformers import AutoModelForCausalLM, GgufConfig
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        # Llama's GGUF holds the rows of q and k in the order of its own rotary embedding; transformers puts them back.
        return AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=dtype,
            local_files_only=True,
        )
    except Exception as error:  # transformers and gguf raise several types for what they do not know
        raise LwexpError(f"gguf={gguf}: transformers cannot read it: {first_line(error)}") from None


def _require_theta(gguf: Path, theta: float | None, config: Any) -> None:
    """transformers reads the base by a key that some architectures' tables lack, and then takes the type's default."""
    rotary = getattr(config, "rope_parameters", None) or {}
    found = rotary.get("full_attention", rotary).get("rope_theta")
    if theta is not None and (found is None or not math.isclose(found, theta, rel_tol=1e-6)):  # the file has float32
        raise LwexpError(
            f"gguf={gguf}: its base of rotary frequencies is {theta:g}, transformers reads {found}; use the original "
            f"folder"
        )


def _given_tokenizer(source: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise LwexpError(
            f"tokenizer={source}: cannot read it: {first_line(error)}; give a model's folder or a hub id"
        ) from None


def _own_tokenizer(gguf: Path, facts: dict[str, Any]) -> Any:
    from tokenizers import normalizers, pre_tokenizers
    from transformers import AutoTokenizer
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    rule = facts["rule"]
    known = (*GGUF_PRE_TOKENIZER_SPLITS, *_GPT2_RULES, _SMOLLM_RULE)
    if facts["tokenizer"] == "gpt2" and rule not in known:
        raise LwexpError(
            f"gguf={gguf}: its tokenizer cuts text by the rule {rule!r}, which cannot be rebuilt from the file; set "
            f"tokenizer=<folder or hub id of the original model>"
        )
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except (OSError, ValueError) as error:
        raise LwexpError(f"gguf={gguf}: transformers cannot read its tokenizer: {first_line(error)}") from None
    if rule == _SMOLLM_RULE:
        digits = pre_tokenizers.Digits(individual_digits=True)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [digits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
        )
    if rule == _QWEN_RULE:
        tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def _card(gguf: Path, facts: dict[str, Any], dtype: str) -> str:
    """README.md. The card of a model that is trained from this folder names the licence given here."""
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    head = f"---\nlicense: {facts['license']}\n---\n\n" if facts["license"] else ""
    formats = ", ".join(f"{count} x {name}" for name, count in facts["formats"].items())
    return (
        f"{head}# {facts['name'] or gguf.stem}\n\n"
        f"{CARD_MARK} `{gguf.name}` (sha256 {digest}).\n"
        f"Weights of the file: {formats}; here: {dtype}. Quantised weights were multiplied out, so they are close to "
        f"the published ones, not equal.\n"
    )
