"""Admits an architecture by comparing packed attention and the ``TargetHead`` with transformers on a miniature of it.

The type of a model does not prove that it can be trained here: two models of one type may differ by a window, a softcap
or a factor on the logits. So a miniature keeps the folder's own config except for its widths, depth and windows, and
both implementations run on it in float32 with random weights. Its windows are shorter than the test documents. In a
model of full size, a missing window would show only after thousands of tokens.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from lwexp.pack.dataset import PackBatch
from lwexp.pack.model_weights import batch_dependent_rotary
from lwexp.records import LwexpError
from lwexp.text.plain import first_line
from lwexp.train.model.attention import register_attention
from lwexp.train.model.folder_layout import read_config, with_layers
from lwexp.train.model.logprobs import install_head, pack_logprobs

TOLERANCE = 1e-4
"""Largest difference of a log-probability, in nats. Rounding gives about 1e-6; a window that is ignored gives 0.1."""

_LENGTHS = (11, 7)
_WINDOW = 4
_WORDS = 64
_OTHER_INPUTS = ("vision_config", "audio_config")


def admission_problem(content: Mapping[str, Any]) -> str | None:
    """Why the architecture of a config.json cannot be trained here; None if the self-check agrees."""
    return _checked(json.dumps(content, sort_keys=True))


@lru_cache(maxsize=8)
def _checked(content: str) -> str | None:
    try:
        config = read_config(json.loads(content))
        name = str(config.model_type)
        if any(getattr(config, key, None) is not None for key in _OTHER_INPUTS):
            return f"{name} also reads images or sound, which is not trained here; choose a text model of the family"
        if has_experts(config):
            return f"{name} is a mixture of experts, whose routing is not trained here; choose a dense model"
        difference = largest_difference(miniature(config))
    except LwexpError as error:
        return str(error)
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, AssertionError, IndexError) as error:
        return f"its self-check fails with {type(error).__name__}: {first_line(error)}; choose another architecture"
    if difference <= TOLERANCE:
        return None
    return (
        f"{name} computes something that packs do not: log-probs differ by {difference:.2g} from transformers'; "
        f"choose another architecture"
    )


def rotary_problem(content: Mapping[str, Any], longest: int | None = None) -> str | None:
    """Why the rotary frequencies of a config.json do not fit packs; None if they do.

    The self-check cannot show it: its documents are shorter than the length at which the frequencies change.

    Args:
        content: Of the config.json.
        longest: Tokens of the longest document that a pack may hold.
    """
    try:
        rotary = batch_dependent_rotary(read_config(content), longest)
    except LwexpError as error:
        return str(error)
    if not rotary:
        return None
    limit = min(rotary.values())
    return (
        f"its rotary frequencies ({', '.join(rotary)}) depend on the longest document of a pack beyond {limit:,} "
        f"tokens; set pack.max_tokens={limit} or less, or model.rope_scaling and model.context_length, or choose "
        "another model"
    )


def has_experts(config: Any) -> bool:
    """Whether a model of this config routes tokens to experts.

    Configs name their experts in many ways (``num_experts``, ``n_routed_experts``, ``moe_num_experts``,
    ``ffn_config.moe_num_experts``), and some dense models have such a key too. So any such key leads to a look at the
    modules of the whole model, built without memory: only some of its layers may have experts.
    """
    from transformers import AutoModelForCausalLM

    if not any(_counts_experts(key, value) for key, value in _all_values(config.to_dict())):
        return False
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return any(
        place.rpartition(".")[2] == "experts" or "Experts" in type(module).__name__
        for place, module in model.named_modules()
    )


def _counts_experts(key: str, value: Any) -> bool:
    return ("expert" in key or key.startswith("moe_")) and isinstance(value, int) and value > 0


def _all_values(content: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _all_values(value)
        else:
            yield str(key), value


def miniature(config: Any) -> Any:
    """The same architecture with small matrices, few layers and short windows.

    The width of a head stays, because rotary scaling may depend on it. There are as many layers as it takes to have
    every kind of layer that the config lists.
    """
    kinds = list(getattr(config, "layer_types", None) or ["full_attention"])
    layers = min(config.num_hidden_layers, max(2, *(kinds.index(kind) + 1 for kind in set(kinds))))
    small = with_layers(config, layers)
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    is_grouped = (getattr(config, "num_key_value_heads", None) or config.num_attention_heads) != (
        config.num_attention_heads
    )
    small.num_attention_heads, small.num_key_value_heads = 2, 1 if is_grouped else 2
    small.hidden_size, small.intermediate_size, small.vocab_size = 2 * head, 64, _WORDS
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(small, name, None)
    if getattr(config, "sliding_window", None) is not None:
        small.sliding_window = _WINDOW
    return small


def largest_difference(config: Any) -> float:
    """Largest difference of a log-probability between a pack of two documents and transformers on each alone.

    Args:
        config: A transformers config of a small model; its weights are drawn at random.
    """
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(0)
        # Only eager attention computes everything that an architecture asks for; SDPA has no softcap.
        plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
        # New norm weights are 1 and new biases 0, which would hide whether they are used.
        for weight in plain.parameters():
            nn.init.normal_(weight.data, mean=1.0 if weight.dim() == 1 else 0.0, std=0.2)
        packed = AutoModelForCausalLM.from_config(
            copy.deepcopy(config), dtype=torch.float32, attn_implementation=register_attention("per_document")
        ).eval()
        packed.load_state_dict(plain.state_dict())
        install_head(packed)
        documents = [torch.randint(1, _WORDS, (length,)) for length in _LENGTHS]
    with torch.no_grad():
        ours = pack_logprobs(packed, _pack(documents))
        theirs = torch.cat([_alone(plain, document) for document in documents])
        return float((ours - theirs).abs().max())


def _alone(model: nn.Module, document: Tensor) -> Tensor:
    logits: Tensor = model(input_ids=document[None], use_cache=False).logits[0, :-1]
    return torch.log_softmax(logits, dim=-1).gather(1, document[1:, None])[:, 0]


def _pack(documents: list[Tensor]) -> PackBatch:
    """Documents end to end; every token is a target except the first of each document."""
    lengths = tuple(len(document) for document in documents)
    starts = torch.tensor((0, *lengths)).cumsum(0)
    sources = torch.cat(
        [torch.arange(int(start), int(start) + n - 1) for start, n in zip(starts, lengths, strict=False)]
    )
    return PackBatch(
        input_ids=torch.cat(documents)[None],
        position_ids=torch.cat([torch.arange(n) for n in lengths])[None],
        cu_seqlens=starts.to(torch.int32),
        max_length=max(lengths),
        lengths=lengths,
        source_positions=sources,
        target_ids=torch.cat([document[1:] for document in documents]),
        target_documents=torch.cat([torch.full((n - 1,), i) for i, n in enumerate(lengths)]),
        document_ids=tuple(range(len(documents))),
        pack_id=0,
        labels=torch.zeros(len(documents), 0),
    )
