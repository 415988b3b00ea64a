"""Runs of several ranks in real processes, without paying the imports for each: a server imports once and forks.

    ranks = Ranks()                                   # one process that has imported lwexp, torch and deepspeed
    ranks.train(root, *overrides, world=2)            # forks two ranks over gloo, gives their exit codes

Each rank goes through the same calls as ``train.py`` does after it has started its ranks.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import ROOT, forked


class Ranks:
    """The server, seen from a test."""

    def __init__(self) -> None:
        # torch._inductor, which DeepSpeed imports, would start processes to compile with, and nothing is compiled here.
        settings = {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1", "DS_ACCELERATOR": "cpu"}
        environment = {**os.environ, **settings, "GLOO_SOCKET_IFNAME": "lo"}
        command = [forked.python(), "-m", "tests.train.zero_ranks"]
        self._server = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def train(
        self,
        root: Path,
        *overrides: str,
        world: int,
        kill: dict[str, Any] | None = None,
        start_from: Path | None = None,
        poison: dict[str, Any] | None = None,
        full: dict[str, Any] | None = None,
        whole_reference: bool = False,
    ) -> list[int]:
        """Run all ranks to their end.

        Args:
            root: Folder of run directories.
            overrides: Of the tiny config.
            world: Ranks; 0 is one process without DeepSpeed.
            kill: {"rank": r, "step": k, "signal": s}: rank r signals itself when step k has been logged; with
                "mid_save": true as soon as, after that, a checkpoint is being written.
            start_from: Model to start DPO from; SFT without.
            poison: {"rank": r, "calls": [k, ...], "what": "loss"}: as in ``poisoned_logprobs``, on rank r alone.
            full: {"ranks": [r, ...], "step": k}: the disk of these ranks takes no file above 20 kB from the save of
                step k on.
            whole_reference: A fault for negative controls: every rank computes the reference of all packs.

        Returns:
            Exit code of each rank; negative for a signal.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        job = {"root": str(root), "overrides": overrides, "world": world, "kill": kill, "poison": poison, "full": full}
        job["whole_reference"] = whole_reference
        job["start_from"] = None if start_from is None else str(start_from)
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        codes: list[int] = json.loads(self._server.stdout.readline())
        return codes

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.communicate(timeout=30)


def serve() -> None:
    """Import, then fork the ranks of each job that comes in."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints must not end up among the answers
    gc.disable()  # imports leave nothing to collect
    import deepspeed.ops
    import deepspeed.runtime.zero.muon.muon_optimizer  # noqa: F401 (each rank would import it, and torch._inductor)
    import lightning.pytorch.strategies  # noqa: F401
    import transformers.models.glm.modeling_glm
    import transformers.models.llama.modeling_llama  # noqa: F401

    import lwexp.train.loop.run
    import lwexp.train.parallel.strategy  # noqa: F401
    from tests.train import rank_observers, tiny_packs  # noqa: F401

    tiny_packs.tiny_config("nowhere")  # reads the YAML files and imports the built-in classes
    # Otherwise a rank's collections walk through all that was imported, and copy it. A rank takes 1.6 s of CPU with
    # this and the two lines before it, and 5.1 s without.
    gc.collect()
    gc.freeze()
    gc.enable()
    for line in sys.stdin:
        job = json.loads(line)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        children = [fork(job, rank, port) for rank in range(max(1, job["world"]))]
        codes: dict[int, int] = {}
        while len(codes) < len(children):
            child, status = os.wait()
            codes[child] = os.waitstatus_to_exitcode(status)
        answers.write(json.dumps([codes[child] for child in children]) + "\n")
        answers.flush()


def fork(job: dict[str, Any], rank: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    if world := job["world"]:
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in names.items()}, MASTER_ADDR="127.0.0.1")
    code = 1
    try:
        code = be_a_rank(job, rank)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def be_a_rank(job: dict[str, Any], rank: int) -> int:
    import threading

    from lwexp.records import LwexpError, Preempted
    from lwexp.runs.logs import console_log
    from lwexp.train.loop import run as run_module
    from lwexp.train.parallel.rank_sync import join_process_group
    from lwexp.train.planner.hardware import hardware_of, settle_hardware
    from tests.train.rank_observers import observers
    from tests.train.stopped_run import fill_the_disk
    from tests.train.tiny_packs import poisoned_logprobs, tiny_config, tiny_conversations, tiny_pairs, train_in

    console_log()
    make_callbacks = run_module._callbacks
    watched = observers(Path(job["root"]), rank)
    run_module._callbacks = lambda *given: [*make_callbacks(*given), *watched]
    if job["whole_reference"]:
        reference_pass: Any = importlib.import_module("lwexp.train.loop.reference_pass")
        reference_pass.rank_share = lambda packs, *_: (list(packs), [1.0] * len(packs))
    kill, poison = job["kill"], job["poison"]
    if poison and poison["rank"] == rank:
        module_file: Any = importlib.import_module("lwexp.train.loop.module")
        module_file.pack_logprobs = poisoned_logprobs(set(poison["calls"]), poison["what"])
    if job["full"] and rank in job["full"]["ranks"]:
        fill_the_disk(job["full"]["step"])
    if kill and kill["rank"] == rank:
        threading.Thread(target=signal_self, args=(job["root"], kill), daemon=True).start()
    config = settle_hardware(tiny_config(job["root"], *job["overrides"]))
    start_from = Path(job["start_from"]) if job["start_from"] else None
    try:
        ranks = join_process_group(hardware_of(config))
        try:
            if rank == 0:
                if start_from is None:
                    train_in(config, rows=tiny_conversations(), ranks=ranks)
                else:
                    train_in(config, rows=tiny_pairs(), start_from=start_from, ranks=ranks)
            else:
                run_module.run_worker_rank(ranks)
        finally:
            ranks.leave()
    except Preempted:
        return 143
    except KeyboardInterrupt:
        return 130
    except LwexpError as error:
        with Path(job["root"]).with_suffix(".errors").open("a") as errors:  # of all ranks
            errors.write(f"{error}\n")
        return 2
    except SystemExit as end:  # rank 0 has said why
        return int(end.code or 0)
    return 0


def signal_self(root: str, kill: dict[str, Any]) -> None:
    import time

    from lwexp.runs.summaries import read_metrics

    while True:
        found = list(Path(root).glob("*/metrics.jsonl"))
        if found and len(read_metrics(found[0])) >= kill["step"]:
            while kill.get("mid_save") and not list(Path(root).glob("*/checkpoints/*.tmp/*")):
                time.sleep(0.0002)
            os.kill(os.getpid(), kill["signal"])
            return
        time.sleep(0.001)


if __name__ == "__main__":
    serve()
