"""Tests a judge before it is believed: it scores good answers and the same words shuffled, and must tell them apart.

A small model that gives every answer the same scores, or scores at random, fills a table like any other judge. The
texts are short, so the check costs four calls per language of the bench, kept in the run's ledger.
"""

import logging
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from lwexp.extend.endpoint import AskedJudge, Judge
from lwexp.extend.metric import JudgedMetric, Marks, Metric
from lwexp.records import Language, LwexpError, Response, Sampling
from lwexp.runs.summaries import AnchorPair, JudgeAnchors

log = logging.getLogger(__name__)

LEAST_GAP = 20.0  # points of S_q, nearly one step of its five-step scale, between good answers and shuffled ones
_SAMPLING = Sampling(temperature=0, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=1024, seed=0)


class Anchor(NamedTuple):
    """A request and a good answer to it."""

    id: str
    language: Language
    request: str
    good: str

    @property
    def salad(self) -> str:
        """The good answer's words (Chinese: its characters) in an order without any sense."""
        parts = list(self.good) if self.language == "zh" else self.good.split()
        random.Random(self.id).shuffle(parts)
        return ("" if self.language == "zh" else " ").join(parts)


ANCHORS = (
    Anchor(
        "bicycle", "en", "Explain in about 100 words how a bicycle stays upright while it is moving.",
        "A moving bicycle stays upright because it steers itself under the rider. When it begins to lean to one side, "
        "the front wheel turns toward that side. The bicycle then follows a small curve, and the wheels travel back "
        "beneath the centre of mass, just as you move your hand to keep a broom balanced on your palm. Two details "
        "help the wheel to turn by itself. The point where the tyre meets the road lies slightly behind the steering "
        "axis, so the wheel trails like a castor, and the spinning wheel reacts to the lean as a gyroscope does. The "
        "rider adds small corrections. At a standstill none of this works, which is why balancing is hardest there.",
    ),
    Anchor(
        "bread", "en", "Describe in about 100 words why bread dough has to rest before it is baked.",
        "Dough rests so that three slow processes can finish. First, the flour takes up water. Its proteins then link "
        "into gluten, an elastic net that holds the dough together, and this happens even without kneading. Second, "
        "the yeast feeds on sugar that enzymes release from the starch, and gives off carbon dioxide. The gas collects "
        "in small bubbles, the gluten stretches around them, and the dough rises. Third, yeast and bacteria make acids "
        "and alcohols, which give the bread most of its flavour. A loaf that is baked too early is therefore dense, "
        "pale and dull. After a good rest the crumb is open, and the crust browns well.",
    ),
    Anchor(
        "tides", "zh", "请用大约150字说明海水为什么会涨潮和落潮。",
        "海水的涨落主要来自月球的引力。地球朝向月球的一侧离月球较近，受到的引力较强，海水被拉向月球，形成隆起；"
        "背向月球的一侧引力较弱，海水相对落在后面，也形成隆起。地球每天自转一周，同一个海岸会先后经过这两处隆起，"
        "所以大多数地方一天有两次涨潮和两次落潮。太阳的引力也有影响：新月和满月时，太阳、月球与地球排成一线，"
        "两种力量相加，潮水特别高；上弦月和下弦月时，两者互相抵消，潮差就小。海岸的形状还会放大或减弱潮汐。",
    ),
    Anchor(
        "reading", "zh", "请用大约150字谈谈为什么要让孩子养成每天读书的习惯。",
        "每天读书，首先能让孩子积累词汇和知识。故事里的人物和事件，会把他们带到从未去过的地方，让他们了解不同的生活。"
        "其次，阅读需要专注。一个能安静读完一章书的孩子，做别的事情也更容易坚持。再次，书里的人物有喜有忧，"
        "孩子跟着他们一起感受，慢慢学会体谅别人。习惯比数量更重要：每晚睡前读二十分钟，胜过周末一口气读半天。"
        "父母如果也拿起书来，和孩子谈谈读到的内容，读书就会成为全家人期待的时光，而不是一项任务。",
    ),
)  # fmt: skip


def check_judge(
    judge: Judge,
    metrics: Iterable[Metric],
    responses: Sequence[Response],
    *,
    seed: int,
    folder: Path,
    root: Path | None = None,
) -> JudgeAnchors | None:
    """Judge the anchors in the languages of ``responses``, and write judge_anchors.json.

    Args:
        judge: With ``anchors=off``, and of the kinds offline and none, nothing is asked.
        metrics: Only S_q is checked; a metric of a plugin may ask for something that these texts do not have.
        responses: The answers that are judged next.
        seed: The run's seed.
        folder: Of the run.
        root: Folder of the runs that share their paid replies.

    Returns:
        The scores, or None if nothing was asked.

    Raises:
        LwexpError: If the judge is not shown to separate them and ``judge.anchors=refuse``, or as in ``ask_judge``.
    """
    metric = next((one for one in metrics if isinstance(one, JudgedMetric) and one.kind == "quality"), None)
    if not isinstance(judge, AskedJudge) or judge.is_free or judge.anchors == "off" or metric is None:
        return None
    from lwexp.score.judging import JudgeRequest, ask_judge

    languages = {response.language for response in responses if response.text.strip()}
    used = [anchor for anchor in ANCHORS if anchor.language in languages]
    prompt = metric.judge_prompt(judge.prompt)
    requests = [
        JudgeRequest(f"{anchor.id}|{name}", metric.question(_response(anchor, text), prompt))
        for anchor in used
        for name, text in (("good", anchor.good), ("salad", anchor.salad))
    ]
    if not requests:
        return None
    outcomes = ask_judge(requests, judge, about="anchors", seed=seed, folder=folder, root=root)

    def score(anchor: Anchor, name: str) -> float | None:
        outcome = outcomes.get(f"{anchor.id}|{name}")
        return round(outcome.score, 1) if isinstance(outcome, Marks) else None

    pairs = [AnchorPair(id=one.id, good=score(one, "good"), salad=score(one, "salad")) for one in used]
    found = JudgeAnchors(model=judge.model, least_gap=LEAST_GAP, separates=separates(pairs), pairs=pairs)
    found.write(folder)
    _report(found, judge, Counter(outcome for outcome in outcomes.values() if isinstance(outcome, str)))
    return found


def _report(found: JudgeAnchors, judge: AskedJudge, unscored: Counter[str]) -> None:
    """Say what the check found.

    Raises:
        LwexpError: With ``judge.anchors=refuse``, unless the judge separates the anchors.
    """
    refuses, hint = judge.anchors == "refuse", "(judge.anchors=refuse stops here)"
    if found.separates:
        log.info("judge %s: %s", judge.model, found)
    elif found.separates is None:  # nothing is known about the judge, so nothing is said against it
        reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in unscored.most_common())
        said = f"judge {judge.model} could not be checked: too few of the short test answers have a score ({reasons})"
        if refuses:
            raise LwexpError(f"{said}; run the command again, or set judge.anchors=warn to score without the check")
        log.warning("%s %s", said, hint)
    elif refuses:
        raise LwexpError(
            f"judge {judge.model} does not tell good answers from shuffled words: {found}; choose another judge, or "
            "set judge.anchors=warn to score with this one"
        )
    else:
        log.warning(
            "judge %s does not tell good answers from shuffled words, so its S_q means little: %s %s",
            judge.model, found, hint,
        )  # fmt: skip


def separates(pairs: Sequence[AnchorPair]) -> bool | None:
    """Whether every good answer has a higher score than its shuffled words, by ``LEAST_GAP`` in the mean.

    Pairs without both scores are left out; with fewer than half of the pairs, nothing is shown: None.
    """
    gaps = [pair.good - pair.salad for pair in pairs if pair.good is not None and pair.salad is not None]
    if not gaps or 2 * len(gaps) < len(pairs):
        return None
    return min(gaps) > 0 and fmean(gaps) >= LEAST_GAP


def _response(anchor: Anchor, text: str) -> Response:
    return Response(
        id=f"{anchor.id}#0",
        prompt_id=anchor.id,
        repeat=0,
        prompt=anchor.request,
        language=anchor.language,
        type="anchor",
        required_words=None,
        text=text,
        words=0,
        finish_reason="stop",
        model="anchor",
        sampling=_SAMPLING,
    )
