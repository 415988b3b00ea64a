"""The live page in a real browser: what it shows, that it follows a run, and that text of runs stays text."""

import json

from tests.watch.conftest import Runs, write_progress, write_rows


def test_the_page_follows_a_run_and_runs_no_text_of_it(browser, address, runs: Runs) -> None:
    problems: list[str] = []
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    home = f"http://127.0.0.1:{address[1]}/"
    page.on("request", lambda request: problems.extend([] if request.url.startswith(home) else [request.url]))
    page.goto(home)
    page.wait_for_selector("html[data-ready=yes]")
    assert page.inner_text("#summary") == "5 runs: 1 running, 2 failed, 1 stopped"
    assert page.locator("#working a").count() == 1
    assert "<img src=x onerror=alert(1)>" in page.inner_text("#rows")
    page.fill("#text", "wrong")
    page.wait_for_selector("#rows tr:only-child")

    page.click("#rows a")
    page.wait_for_selector("#run:not([hidden])")
    assert page.inner_text("#why").startswith("It failed. LwexpError: <img src=x onerror=alert(1)>")
    page.goto(f"{home}#sft-4")
    page.wait_for_selector("#charts figure")
    assert page.inner_text("#progress b") == "25%"
    assert page.locator("[role=progressbar]").get_attribute("aria-valuenow") == "25"
    assert page.inner_text("#log").strip() == "2026-01-01 00:00:01,000 WARNING lwexp: <b>bold[U+202E]</b>"

    write_progress(runs.working, share=0.5, text="20 of 40, 0:20 left")
    write_rows(runs.working, 20)
    page.wait_for_selector("#progress b:text-is('50%')", timeout=10_000)
    assert page.inner_text("#charts .last >> nth=0") == "2.75"  # 4 - 20/16
    (runs.working / "manifest.json").write_text(
        json.dumps({"id": "sft-4", "name": "sft", "stage": "train", "status": "preempted", "reason": "SIGTERM"})
    )
    page.wait_for_selector("#about .state.stopped")
    assert page.inner_text("#why").startswith("It is not finished. SIGTERM.")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        page.goto(home)
        page.wait_for_selector("#list:not([hidden]) #rows tr")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        page.goto(f"{home}#sft-4")
        page.wait_for_selector("#charts figure")
    assert problems == []
