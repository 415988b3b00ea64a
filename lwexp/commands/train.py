"""Train on 32k-token packs: SFT or DPO, on one CPU, one GPU or eight under DeepSpeed ZeRO-3.

python train.py experiment=miniature                  the paper in miniature, two CPU cores
python train.py model=glm4 dry_run=true               what GLM-4-9B would need; computes nothing
python train.py model=llama31 objective=dpo           DPO from the newest finished SFT run
python train.py -m +sweeps=smoke                      a sweep: every trial in its own process
"""

from lwexp.commands.shell import run_command
from lwexp.config import Config


def run(config: Config) -> None:
    """Train, then evaluate if asked."""
    from lwexp.recipe import evaluate, train
    from lwexp.recipe.answers import require_trained_model

    if config.evaluate_after:
        require_trained_model(config.engine)
    done = train(config)
    if done is not None and config.evaluate_after:
        evaluate(config.model_copy(update={"run": str(done.path)}))


def main(_: list[str] | None = None) -> None:
    """Entry point of ``lwexp train`` and train.py."""
    run_command("train", run, __doc__ or "")
