"""Evaluate a training run: answers, length score, quality score, tables, one HTML report.

python evaluate.py                                        the newest finished run on the miniature bench
python evaluate.py model=glm4 bench=longbench_write       S_l, S_q and S-bar per range for the newest GLM-4 run
python evaluate.py run=runs/long-1a2b3c4d judge=none      a run by its folder, lengths only
python evaluate.py responses=pred.jsonl judge=none        score answers from elsewhere
python evaluate.py run=long baseline_run=runs/eval-base-...    paired differences per range and a pairwise win rate
python evaluate.py run=long engine=vllm                    start vLLM on the run's model, and stop it at the end
python evaluate.py engine=vllm engine.base_url=http://127.0.0.1:8000/v1 engine.model=glm
                                                          your own server; engine=litellm for any other model
"""

from lwexp.commands.shell import run_command
from lwexp.config import Config


def run(config: Config) -> None:
    """Sample, score and report."""
    from lwexp.recipe import evaluate
    from lwexp.runs.ranks import require_one_process

    require_one_process("lwexp evaluate")
    evaluate(config)


def main(_: list[str] | None = None) -> None:
    """Entry point of ``lwexp evaluate`` and evaluate.py."""
    run_command("evaluate", run, __doc__ or "")
