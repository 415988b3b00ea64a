"""Convert a GGUF file, the format of llama.cpp, into a Hugging Face folder for training and evaluation.

    python -m lwexp.convert gguf=SmolLM2-135M-Instruct.Q4_1.gguf out=models/smollm2
    python -m lwexp.convert gguf=qwen.gguf out=models/qwen dtype=bfloat16
    python -m lwexp.convert gguf=mine.gguf out=models/mine tokenizer=models/original

gguf=       the file, or a folder that holds one .gguf file
out=        folder of the model; it must be empty, new, or an earlier conversion
dtype=      number format of the weights: float32 or bfloat16 (float32)
tokenizer=  folder or hub id of the tokenizer, if it cannot be rebuilt from the file

Needs the package gguf: pip install 'lwexp[real]'. Afterwards: model=hf model.path=<out>, or engine.path=<out>.
"""

import sys
from pathlib import Path

from lwexp.records import LwexpError
from lwexp.runs.command_line import run_command
from lwexp.runs.logs import console_log

_EXAMPLES = {"gguf": "model.gguf", "out": "models/mine", "dtype": "float32", "tokenizer": "models/original"}


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code."""
    return run_command("convert", arguments, __doc__ or "", _EXAMPLES, _convert)


def _convert(options: dict[str, str]) -> None:
    from lwexp.train.convert.from_gguf import DTYPES, convert_gguf

    for key in ("gguf", "out"):
        if key not in options:
            raise LwexpError(f"convert: {key}= is missing; set {key}={_EXAMPLES[key]}")
    dtype = options.get("dtype", "float32")
    if dtype not in DTYPES:
        raise LwexpError(f"dtype={dtype}: wanted one of {', '.join(DTYPES)}")
    out = Path(options["out"])
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not _is_conversion(out)):
        raise LwexpError(f"out={out}: there is something other than an earlier conversion; choose another folder")
    gguf = _one_file(Path(options["gguf"]))
    if gguf.resolve().is_relative_to(out.resolve()):
        raise LwexpError(f"out={out}: {gguf.name} is in this folder, which is replaced; choose another folder")
    console_log()
    convert_gguf(gguf, out, dtype=dtype, tokenizer=options.get("tokenizer"))
    print(f"model: {out}\nnext: lwexp train model=hf model.path={out} mixture=file mixture.path=<your file>")


def _is_conversion(folder: Path) -> bool:
    """Whether the card in a folder is that of a conversion. A config.json proves nothing: every model has one."""
    from lwexp.train.convert.from_gguf import CARD_MARK

    card = folder / "README.md"
    return card.is_file() and CARD_MARK in card.read_text(encoding="utf-8", errors="replace")


def _one_file(path: Path) -> Path:
    """The path, if it is a file, or the only .gguf file in a folder."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.gguf"))
    if len(found) != 1:
        raise LwexpError(f"gguf={path}: wanted a folder with one .gguf file, found {len(found)}; name the file")
    return found[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
