"""How many tokens of a pack are in the model at once: all of them, or for DPO in two passes one answer's worth."""

from __future__ import annotations

from lwexp.config.schema import Config
from lwexp.config.train import DPO, Hardware
from lwexp.extend import Sizes
from lwexp.train.planner.memory_fit import judge


def tokens_at_once(config: Config, hardware: Hardware, sizes: Sizes, *, here: bool) -> int:
    """Tokens of the largest forward and backward.

    With two passes half a pack: a pair fills a pack, and its two answers are trained one after the other. A pair whose
    longer answer has more than half of the pack's tokens takes more than that.

    Args:
        config: Of a run; its ``objective.passes`` decides, and auto by whether one pass fits.
        hardware: Where it runs.
        sizes: Of its model.
        here: Compare with the memory of this machine and not with what the config says.
    """
    whole = config.pack.max_tokens
    half = -(-whole // 2)
    if not isinstance(config.objective, DPO) or config.objective.passes == "one":
        return whole
    if config.objective.passes == "two":
        return half
    return whole if judge("one pass", sizes, hardware, whole, here=here).is_fitting else half
