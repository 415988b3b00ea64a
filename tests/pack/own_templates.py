"""Small tokenizers whose templates have the shapes of the real ones, written for these tests."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerFast

from lwexp.pack.tokenizer import train_tokenizer
from tests.pack.pack_rows import TEXT

# Every message in a frame; an answer is nothing special.
PLAIN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# A begin token, headers, and messages without the white space around them.
TRIMMED = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>{{ '\n\n' }}"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>{{ '\n\n' }}{% endif %}"
)
# The system text of its own where a conversation has none.
WITH_DEFAULT = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a small model.<|im_end|>\n{% endif %}" + PLAIN
)
# An empty think block before the last answer only, and in the prompt if thinking is off.
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
# The author says what the model writes.
MARKED = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<|im_start|>assistant\n"
    "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}\n"
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# SmolLM3 marks the header too, which a server gives with the prompt.
MARKED_WITH_HEADER = MARKED.replace("{% generation %}", "").replace(
    "<|im_start|>assistant\n{{", "{% generation %}<|im_start|>assistant\n{{"
)
# Turns in ordinary text.
INSTRUCT = (
    "<|im_start|>{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }}<|im_end|>{% endif %}{% endfor %}"
)
# The system message stands in the last question, as in Mistral's.
SYSTEM_LAST = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] + '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}"
    "<|im_start|>{% for m in rest %}{% if m.role == 'user' %}[INST] {{ system if loop.last else '' }}{{ m.content }}"
    " [/INST]{% else %} {{ m.content }}<|im_end|>{% endif %}{% endfor %}"
)
# An end of the whole conversation besides the end of each answer.
CLOSED = PLAIN.replace("{% endif %}", "{% else %}<|endoftext|>{% endif %}")

# A system block with a date, fixed or of the day, in every conversation.
DATED = (
    "{{ bos_token }}{% if not date_string is defined %}{% set date_string = '1 Jan 2024' %}{% endif %}"
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set rest = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}"
    "<|start_header_id|>system<|end_header_id|>{{ '\n\nToday: ' + date_string + '\n\n' + system }}<|eot_id|>"
) + TRIMMED.removeprefix("{{ bos_token }}").replace("in messages", "in rest")
DATED_BY_CLOCK = DATED.replace("'1 Jan 2024'", "strftime_now('%d %b %Y')")


def own_folder(folder: Path, template: str | None, like: str = "chatml") -> Path:
    """A folder with a small tokenizer that has the tokens of a format and a template of its own."""
    tokenizer = train_tokenizer(TEXT, 400, like)
    for name in [name for name in tokenizer.init_kwargs if name.startswith("lwexp_")]:
        del tokenizer.init_kwargs[name]
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


def rendered(tokenizer: PreTrainedTokenizerFast, messages, **options) -> list[int]:
    """What transformers makes of a conversation: the witness of the tests."""
    ids: list[int] = tokenizer.apply_chat_template([m.model_dump() for m in messages], return_dict=False, **options)
    return ids
