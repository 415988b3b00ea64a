"""score: answers become verdicts by the metrics of their bench: a computed or judged score, or a reason for none.

Reads responses. Writes the files below. Never touches models or benches, never drops a response and never invents a
score.

An evaluation run (stage ``evaluate``) holds, besides config.json and manifest.json:

    responses.jsonl   records.Response      every prompt x repeat, in bench order; without an answer:
                                            finish_reason "error"; ``words`` by ``bench.counter``
    metrics.json      [records.MetricInfo]  the metrics; absent in older runs, which have S_l, S_q and S_bar
    verdicts.jsonl    records.Verdict       per response x metric: kind "length" (scorer S_l), then "quality" (scorer:
                                            the judge's model) unless judge=none; ``score`` is the mean of its
                                            judgements. A metric that is the mean of others has no rows; a metric that
                                            needs a length has no row for a prompt that states none. Scores
                                            that came with the answers of responses=<file> follow, by another scorer
    judgements.jsonl  records.Judgement     per judged metric x response x ``judge.repeats``; absent without a judge
    judge.json        runs.summaries        prompt, counts and agreement of the repeats; absent without a judge
    judge_anchors.json    runs.summaries    scores of good answers and of shuffled words; only of judges that cost
                                            something, before anything is judged
    judge_failures.json   runs.summaries    questions without a usable reply, by reason, each with an example; absent if
                                            there are none
    checks.jsonl      records.AnswerCheck   per answer that arrived: word counts, early stop, loop, signs of injection
    positions.jsonl   records.SegmentCheck  per response x segment: repetition, distinctness, S_q with judge.segments
    pairwise.jsonl    records.PairJudgement per prompt and repeat, in both orders; only with baseline_run=<run>
    pairwise.json     runs.summaries        the same counted; only with baseline_run=
    regression.json   runs.summaries        paired differences per range and metric; only with baseline_run=
    how_measured.md                         every parameter, count and version on one page, without scores
    answer_failures.jsonl records.Failure   why answers are missing; absent if none is
    answers.sqlite, ledger.sqlite           paid calls of the engine and of the judge

Published numbers are ``records.published_cells()`` (records/published.jsonl). A bench with its selection is named by
``extend.bench.bench_heading(config["bench"])``: runs with different headings are never compared.
"""
