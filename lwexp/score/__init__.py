"""score: answers become verdicts by the metrics of their bench: counted, given by a judge, or the reason why not.

Reads responses. Writes the files below. Never touches models or benches, never drops a response and never invents a
score for one.

An evaluation run (stage ``evaluate``) holds, besides config.json and manifest.json:

    responses.jsonl   records.Response      every prompt x repeat, in bench order; one that never came has
                                            finish_reason "error"; ``words`` by ``bench.counter``
    metrics.json      [records.MetricInfo]  what it was scored by; absent in older runs, which have S_l, S_q and S_bar
    verdicts.jsonl    records.Verdict       per response x metric: kind "length" (scorer S_l), then "quality" (scorer:
                                            the judge's model) unless judge=none; ``score`` is the mean of its
                                            judgements. A mean of metrics has no rows; one that needs a length has
                                            none where the prompt has none
    judgements.jsonl  records.Judgement     per judged metric x response x ``judge.repeats``; absent without a judge
    judge.json        object                {"model", "prompt": name, "prompt_sha256", "temperature", "repeats",
                                            "answers", "scored", "unscored": {reason: n},
                                            "alpha": {dimension or "S_q": Krippendorff's alpha or null},
                                            "mean_absolute_difference": S_q points or null, "compared": answers with
                                            two or more judgements, "metric": "S_q", "further": [the same of each
                                            further judged metric]}; absent without a judge
    checks.jsonl      records.Check         per response that came: both word counts, stops early, loops, judge-directed
    positions.jsonl   records.Position      per response x segment: repetition, distinctness, S_q with judge.segments
    pairwise.jsonl    records.PairJudgement per prompt and repeat, in both orders; only with against=<run>
    pairwise.json     object                {"other", "scorer", "prompts", "ours", "other_wins", "ties", "unscored",
                                            "win_rate": 0..1 with ties as half, "interval": [low, high] or null,
                                            "first_shown_wins": share of decided calls won by the text shown first}
    regression.json   object                {"other", "ranges": {label: {name of a metric: {"n", "ours", "other",
                                            "difference", "interval": [low, high] or null, "is_worse": bool}}}};
                                            only with against=; the label "all" is every prompt
    answer_failures.jsonl records.Failure   answers that never came: why; absent where there are none
    answers.sqlite, ledger.sqlite           paid calls of the engine and of the judge

Published numbers are ``records.published_cells()`` (records/published.jsonl). A bench with its selection is named by
``config.evaluate.bench_heading(config["bench"])``: runs with different headings are never put side by side.
"""
