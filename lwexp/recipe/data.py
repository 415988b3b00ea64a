"""The tasks of ``lwexp generate``: drafts, selection, import and export."""

import logging
from pathlib import Path

from lwexp.config import Config
from lwexp.recipe.closing import end
from lwexp.records import FileState
from lwexp.runs import Run, RunDirectory, fingerprint, open_run
from lwexp.runs.logs import console_log

log = logging.getLogger(__name__)


def generate(config: Config) -> Run | None:
    """Do the config's ``task`` and return its run; None after a dry run."""
    from lwexp.recipe.pairs import pairs

    tasks = {"agentwrite": write, "select": select, "import": import_file, "export": export, "pairs": pairs}
    return tasks[config.task](config)


def write(config: Config) -> RunDirectory | None:
    """AgentWrite: instructions -> plans -> drafts -> conversations. None after a dry run."""
    from lwexp.generate import write_drafts
    from lwexp.publish import publish_run

    console_log()
    run = write_drafts(config, publish=lambda run: publish_run(run, again=True))
    return _published(run)


def select(config: Config) -> RunDirectory | None:
    """Conversations of any set -> the instructions that need a long answer. None after a dry run."""
    from lwexp.generate.select import forecast, select_instructions
    from lwexp.llm.key import require_key
    from lwexp.llm.transport import require_parameters
    from lwexp.mix.files import read_file, stem
    from lwexp.mix.hub import hub_fingerprint, stream
    from lwexp.text.plain import slug

    console_log()
    source = config.source
    assert source is not None, "validation refuses task=select without a source"
    path = Path(source)
    name = slug(stem(path) or source, "source")
    rows = read_file(path) if path.is_file() else stream(source, config.split)
    if config.dry_run:
        require_parameters(config.teacher)
        print(forecast(config, rows, name).describe(config))
        return None
    state = FileState.of(path) if path.exists() else None
    mark = fingerprint(path) if path.exists() else hub_fingerprint(source)
    run = open_run(
        "select", config, default_name=f"select-{name}", inputs={"source": mark},
        labels={"teacher": config.teacher.model}, check=lambda: require_key(config.teacher),
    )  # fmt: skip
    with run:
        if run.is_finished:
            log.info("%s is finished: %s", run.id, run.tally)
        else:
            results, missing = select_instructions(config, run, rows, name)
            if state is not None:
                state.require_same(path, "source")
            run.finish(results, missing=missing)
    return end(run)


def import_file(config: Config) -> RunDirectory | None:
    """A file of conversations -> a run that holds the same conversations. None after a dry run."""
    from lwexp.mix.importer import import_conversations

    console_log()
    return _published(import_conversations(config))


def export(config: Config) -> Run:
    """A finished run's rows -> a file in another trainer's format."""
    from lwexp.publish import export_run, publish_run
    from lwexp.runs import find_run

    console_log()
    stages = ("data", "import", "pairs")
    run = find_run(
        config.export.run, root=Path(config.root), stages=stages, key="export.run", make_it="python generate_data.py"
    )
    if config.export.format != "viewer":
        export_run(run, config.export, dry_run=config.dry_run)
    elif not config.dry_run:
        publish_run(run, again=True)
    return run


def _published(run: RunDirectory | None) -> RunDirectory | None:
    """Write the run's card and viewer, if it is finished."""
    from lwexp.publish import publish_run

    if run is None:
        return None
    if run.is_finished:
        publish_run(run)
    return end(run)
