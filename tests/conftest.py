"""Shapes of tensors are checked while the tests run; and a real browser for the pages that runs and reports leave."""

import atexit
import gc
import logging
import shutil

import pytest
from jaxtyping import install_import_hook

# Before anything imports these rooms: every call is held against its annotations, with an int for a float allowed as
# mypy allows it. The other rooms have no tensors. Processes that tests start run without.
CHECKED = ("lwexp.pack", "lwexp.sample", "lwexp.train")
install_import_hook(CHECKED, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

from tests import forked  # noqa: E402
from tests.composed_once import keep_first_steps  # noqa: E402 (it imports lwexp)

keep_first_steps()
atexit.register(gc.freeze)  # the last collection of garbage would look at all that was imported, for seconds

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def pytest_configure(config):
    """The workers of xdist share one server of forked processes."""
    if config.getoption("numprocesses", None):
        forked.share()


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Imports leave no garbage to collect, and what they leave stays to the end, so collections need not look at it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items):
    """Files with slow tests first: one that starts last would leave the other worker idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_make_parametrize_id(val, argname):
    """Names bytes by their argument, because a gzip file holds its time and two workers must collect the same names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def logs_of_lwexp_arrive():
    """Commands that ran in this process may have set the loggers otherwise; a test that reads log lines needs them."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] == "lwexp" and isinstance(logger, logging.Logger):
            logger.disabled = False
    logging.disable(logging.NOTSET)
    logging.getLogger("lwexp").setLevel(logging.INFO)
    logging.getLogger("lwexp").propagate = True


@pytest.fixture(scope="module")  # while it runs, nothing else in the process can use asyncio.run
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install -e '.[dev]'")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine, so the page was not tried in a browser")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser):
    """Opens a file; ``problems`` collects console messages, errors and every request that is not the file's own."""
    contexts = []

    def start(path, width=1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        problems = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.extend([] if request.url.startswith("file://") else [request.url]))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready=yes]")
        return page, problems

    yield start
    for context in contexts:
        context.close()
