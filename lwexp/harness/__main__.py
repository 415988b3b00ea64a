"""Print the folder of lm-evaluation-harness's tasks: ``lm_eval run --include_path $(python -m lwexp.harness)``."""

from pathlib import Path

if __name__ == "__main__":
    print(Path(__file__).parent / "lm_eval_tasks")
