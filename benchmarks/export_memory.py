"""Memory of an export that merges an adapter into the model's own weights, as after a training in 4 bits.

    python -m benchmarks.export_memory            163M parameters in bf16: 328 MiB of weights in files of 100 MB
    python -m benchmarks.export_memory --quick    15M parameters in files of 10 MB

``added_mib`` is what the process holds in its own memory at the peak of the export, above what it held when the model
was loaded: without pages of the model's files, which the system may drop. ``at_once`` merges all weights first.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.output import Results, show

SYSTEMS = ("ours", "at_once")
SIZES = {"quick": (256, 896, 6, 512), "full": (1024, 3584, 12, 4096)}  # width, MLP, layers, vocabulary
_M_MMAP_THRESHOLD = -3  # malloc.h


def main() -> None:
    """Make a model's folder, and export it in a process for each system."""
    # malloc returns blocks to the system at once only if it maps them, and would map only larger ones after the first.
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 65_536)
    size, shard = ("quick", "10MB") if "--quick" in sys.argv else ("full", "100MB")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make(folder / "base", *SIZES[size])
        for system in SYSTEMS:
            if child := os.fork():
                if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
                    sys.exit(f"{system} failed")
            else:
                (folder / f"{system}.json").write_text(json.dumps(measure(system, folder, shard)))
                os._exit(0)
        systems = {system: json.loads((folder / f"{system}.json").read_text()) for system in SYSTEMS}
    results: Results = {f"files_of_{shard}": systems}
    show("export_memory", results, ("torch", "transformers", "safetensors"))


def _make(folder: Path, width: int, mlp: int, layers: int, vocabulary: int) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    import lwexp.train.export.model_folder
    import lwexp.train.model.build  # noqa: F401 - once, for both processes

    torch.set_num_threads(1)
    made = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=mlp, num_hidden_layers=layers,
        num_attention_heads=8, num_key_value_heads=2,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(made)
    model.to(torch.bfloat16).save_pretrained(folder)


class _Tokenizer:
    """What build_model reads of a tokenizer."""

    def __len__(self) -> int:
        return 100


def measure(system: str, folder: Path, shard: str) -> dict[str, float]:
    """Load the model, give it an adapter, and write it."""
    import torch

    from lwexp.config import compose
    from lwexp.train.export.model_folder import free_weights
    from lwexp.train.model.build import build_model
    from lwexp.train.model.merging import merged_state

    torch.set_num_threads(1)
    own = ("model=hf", f"model.path={folder / 'base'}", "model.family=llama", "model.adapter=lora")
    config = compose(*own).model
    model: Any = build_model(config, _Tokenizer(), seed=0, dtype=torch.bfloat16)
    state = model.state_dict()
    free_weights(model)
    before, peak, stop = _own_mib(), [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.005):
            peak[0] = max(peak[0], _own_mib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.process_time()
    merged: Any = merged_state(state, config)
    if system == "at_once":
        merged = {name: weight.contiguous() for name, weight in merged.items()}
    model.save_pretrained(folder / system, state_dict=merged, max_shard_size=shard)
    took = time.process_time() - began
    stop.set()
    watcher.join()
    written = sum(file.stat().st_size for file in (folder / system).glob("*.safetensors"))
    return {"weights_mib": written / 2**20, "added_mib": peak[0] - before, "cpu_s": took}


def _own_mib() -> float:
    """Resident memory of this process that is no file's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
