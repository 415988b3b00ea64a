"""A folder for lm-evaluation-harness's --include_path: one YAML file per task, and the functions that they name."""
