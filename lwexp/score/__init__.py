"""score: answers become verdicts: S_l from the length alone, S_q from a judge, or the reason why there is none.

Reads responses. Writes verdicts.jsonl and, where there is a judge, the ledger of what it was asked. Never touches
models or benches, never drops a response and never invents a score for one.
"""

from lwexp.score.length import score_length
from lwexp.score.verdicts import score_responses

__all__ = ["score_length", "score_responses"]
