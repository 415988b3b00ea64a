"""How time and memory grow with the number of rows, answers, models and trials (docs/scale.md)."""
