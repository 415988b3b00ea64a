"""What can be known of a model folder before its weights are read: a wrong setting shows in the dry run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

from lwexp.config.evaluate import SampleConfig, ServerEngine
from lwexp.extend import ChatFormat
from lwexp.pack.chat import chat_of, encode_prompt
from lwexp.pack.model_weights import refused_if_damaged
from lwexp.pack.tokenizer import load_tokenizer
from lwexp.records import LwexpError, Message, Prompt
from lwexp.sample.decode import Decoder, DecodeRequest
from lwexp.sample.slot_attention import layers_problem, slot_attention

# Below this many parameters a CPU decodes on one core and in float64. One core, because the matrices are too small to
# share: with 1M parameters beside another busy process, a step takes 3 ms with one thread, and 100 ms with two, which
# wait for each other. float64 takes 1.4 times as long, but an answer then does not depend on the others in its batch:
# in float32, 2 of 64 answers of 300 tokens changed with the batch size.
SMALL_MODEL = 30_000_000

# Share of the free memory for keys and values; the rest is for logits and attention's work space. A growing cache is
# copied, so it briefly exists twice.
MEMORY_SHARE = 0.45

# A server's context is a multiple of this, so that a second start, which asks for fewer answers, mostly has the same.
_CONTEXT_STEP = 1024

_GIB = 2**30
_PROMPT_LENGTHS = (11, 7)
_STEPS = 3
_TOLERANCE = 1e-4  # nats; rounding gives about 1e-6, a window that is ignored 0.1


def check_folder(
    folder: Path,
    prompts: Sequence[Prompt],
    sample: SampleConfig,
    chat: ChatFormat | str | None = None,
    *,
    server: ServerEngine | None = None,
) -> str:
    """Refuse a folder that could not answer; describe one that can, and the memory that its answers take.

    Args:
        folder: With config.json, weights and tokenizer.
        prompts: What it is asked.
        sample: Gives the length of answers.
        chat: Chat format of a folder that lwexp has not saved.
        server: Decodes, so memory and kinds of layers are not looked at; None if this process or its workers do.

    Raises:
        LwexpError: If config.json or tokenizer cannot be read, prompt and answer exceed the positions, or the weights
            do not fit into memory.
    """
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise LwexpError(f"{folder} holds no model (config.json is missing); wanted a model's folder")
    with refused_if_damaged(folder, "its config.json"):
        config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    tokenizer = load_tokenizer(folder, None, chat)
    longest = longest_prompt(tokenizer, prompts)
    positions = positions_of(config)
    if positions is not None:
        refuse_beyond_positions(folder, longest, sample.max_new_tokens, positions)
    stored = _stored(folder)
    if server is None:
        if problem := layers_problem(config):
            raise LwexpError(f"{folder}: {problem}")
        _refuse_beyond_memory(folder, stored, config)
    stated = f"{positions:,} positions" if positions is not None else "positions not stated"
    line = (
        f"model    {folder}: {config.model_type}, {stored / _GIB:,.2f} GiB of weights, {stated}; the longest prompt "
        f"has {longest:,} tokens"
    )
    if server is None:
        return f"{line}\n{_memory(folder, config, longest + sample.max_new_tokens, sample)}"
    if server.base_url is not None:
        return line
    context = context_for(server, positions, longest, sample.max_new_tokens)
    return f"{line}\nserver   {server.server} is started with a context of {context:,} tokens"


def positions_of(config: Any) -> int | None:
    """Positions of a model by its transformers config; None if that does not say."""
    positions = getattr(config, "max_position_embeddings", None)
    return None if positions is None else int(positions)


def longest_prompt(tokenizer: Any, prompts: Sequence[Prompt]) -> int:
    """The number of tokens in the longest prompt, including the chat template."""
    format, texts = chat_of(tokenizer), {prompt.text for prompt in prompts}
    return max(len(encode_prompt(tokenizer, format, [Message(role="user", content=text)])) for text in texts)


def context_for(engine: ServerEngine, positions: int | None, prompt: int, answer: int) -> int:
    """Positions that a server is started with: ``engine.context``, else those that prompt and answer need, rounded up.

    A server reserves memory for at least one sequence of its whole context. With all positions of a model it would not
    start on a small GPU that could hold these answers.

    Args:
        engine: How to start the server.
        positions: Of the model; None if its config does not say.
        prompt: Tokens of the longest prompt.
        answer: ``sample.max_new_tokens``.

    Raises:
        LwexpError: If prompt and answer exceed the positions.
    """
    if engine.context is not None:
        refuse_beyond_positions(f"the server (engine.context={engine.context})", prompt, answer, engine.context)
        return engine.context
    rounded = -(-(prompt + answer) // _CONTEXT_STEP) * _CONTEXT_STEP
    if positions is None:
        return rounded
    refuse_beyond_positions("the model", prompt, answer, positions)
    return min(rounded, positions)


def decoding_problem(small: Any) -> str | None:
    """Why a model of this architecture cannot be decoded here; None if its miniature computes what transformers does.

    Two answers of different lengths are decoded together, in float32 with random weights, and compared with
    transformers' forward pass on each alone.

    Args:
        small: A transformers config of a miniature, with windows shorter than the prompts.
    """
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(0)
        # Only eager attention computes everything that an architecture asks for; SDPA has no softcap.
        model: Any = AutoModelForCausalLM.from_config(small, dtype=torch.float32, attn_implementation="eager").eval()
        for weight in model.parameters():  # new norm weights are 1 and new biases 0, which would hide their absence
            torch.nn.init.normal_(weight.data, mean=1.0 if weight.dim() == 1 else 0.0, std=0.2)
    answers = [list(range(1, 1 + length)) for length in _PROMPT_LENGTHS]
    starts = [len(tokens) for tokens in answers]
    try:
        with slot_attention(model):
            decoder, steps = Decoder(model, len(answers), ()), []
            sample = SampleConfig(temperature=0.0, max_new_tokens=_STEPS + 1)
            decoder.admit([DecodeRequest(str(n), list(tokens), "") for n, tokens in enumerate(answers)], sample)
            for _ in range(_STEPS):
                steps.append(decoder.logits.log_softmax(-1))
                for chosen in decoder.choose():
                    assert chosen.token is not None
                    answers[int(chosen.id)].append(chosen.token)
                decoder.advance()
    except LwexpError as error:
        return str(error)
    with torch.inference_mode():
        wholes = [model(torch.tensor([tokens]), use_cache=False).logits[0].log_softmax(-1) for tokens in answers]
    gaps = [
        (step[row] - wholes[row][starts[row] - 1 + at]).abs().max()
        for at, step in enumerate(steps)
        for row in range(len(answers))
    ]
    if (gap := float(max(gaps))) <= _TOLERANCE:
        return None
    return (
        f"{small.model_type} computes something that decoding here does not: log-probs differ by {gap:.2g} from "
        "transformers'; serve it with vLLM (engine=vllm)"
    )


def refuse_beyond_positions(model: Path | str, prompt_tokens: int, max_new_tokens: int, positions: int) -> None:
    """Refuse answers that would leave the positions of a model, which ``model`` names: its folder or its server.

    Raises:
        LwexpError: With the largest ``sample.max_new_tokens`` that fits.
    """
    if prompt_tokens + max_new_tokens <= positions:
        return
    if prompt_tokens >= positions:
        raise LwexpError(
            f"a prompt of {prompt_tokens:,} tokens exceeds the {positions:,} positions of {model}; leave it out, or "
            f"choose a model with a longer context"
        )
    raise LwexpError(
        f"sample.max_new_tokens={max_new_tokens:,} after a prompt of {prompt_tokens:,} tokens exceeds the "
        f"{positions:,} positions of {model}; set sample.max_new_tokens={positions - prompt_tokens} or less"
    )


def kv_numbers(config: Any) -> int:
    """How many numbers the keys and values of one position have, in all layers."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(config.num_hidden_layers * 2 * heads * head)


def is_small(folder: Path) -> bool:
    """Whether a CPU decodes a model on one core and in float64."""
    from transformers import AutoConfig

    return _stored(folder) < SMALL_MODEL * _width(AutoConfig.from_pretrained(folder, trust_remote_code=False))


def _stored(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _width(config: Any) -> int:
    """Bytes of a weight in the files."""
    dtype = getattr(config, "dtype", None)
    return dtype.itemsize if isinstance(dtype, torch.dtype) else 4


def _memory(folder: Path, config: Any, tokens: int, sample: SampleConfig) -> str:
    """What the keys and values of the longest answers take, and how many of those the free memory holds at once."""
    stored = _stored(folder)
    if torch.cuda.is_available():
        number, free, place = _width(config), torch.cuda.mem_get_info()[0] - stored, "of the GPU"
    else:
        number = 8 if stored < SMALL_MODEL * _width(config) else 4
        free, place = psutil.virtual_memory().available - stored * number // _width(config), "of this machine"
    each = kv_numbers(config) * number
    fits = int(max(0, free) * MEMORY_SHARE / max(1, each * tokens))  # an odd config may have no keys and values
    if fits:
        at_once = f"{min(fits, sample.batch_size):,} of sample.batch_size={sample.batch_size} at once"
    else:
        at_once = "not even one fits"
    return (
        f"memory   keys and values of {each / 1024:,.1f} KiB a token, {each * tokens / _GIB:,.2f} GiB for an answer of "
        f"the full length; {at_once} in the {max(0, free) / _GIB:,.1f} GiB {place} that are free beside the weights"
    )


def _refuse_beyond_memory(folder: Path, stored: int, config: Any) -> None:
    """On a GPU weights keep the format of their files; on a CPU they become float32."""
    if torch.cuda.is_available():
        needed, free, place = stored, torch.cuda.mem_get_info()[0], "the GPU"
    else:
        available = psutil.virtual_memory().available
        needed, free, place = stored * 4 // _width(config), available, "this machine, as float32"
    if needed > free:
        raise LwexpError(
            f"{folder}: its weights take {needed / _GIB:,.1f} GiB on {place}, and {free / _GIB:,.1f} are free; serve "
            f"it where it fits (engine=vllm), or choose a smaller model"
        )
