"""What a person sees of a run: on a terminal, in a page, while it runs."""

from __future__ import annotations

import html
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lora_lint.verify.run import progress_line, progress_to

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from lora_lint.verify import observe, report_json, report_text  # noqa: E402
from lora_lint.verify.report_html import render as page_of  # noqa: E402
from lora_lint.verify.report_text import headline, render  # noqa: E402
from lora_lint.verify.verdict import Verdict  # noqa: E402
from tests.verify.tiny import adamw, adapted, batch, train  # noqa: E402

pytestmark = pytest.mark.torch


def plain(colour: str, text: str) -> str:
    return text


@pytest.fixture(scope="module")
def healthy() -> Verdict:
    with observe(steps=3, probes=True) as session:
        model = adapted()
        train(model, adamw(model))
    verdict: Verdict = session.verdict
    return verdict


@pytest.fixture(scope="module")
def frozen() -> Verdict:
    with observe(steps=3, probes=True) as session:
        model = adapted()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        model.requires_grad_(False)
        model.enable_input_require_grads()
        for step in range(3):
            model(**batch(step)).loss.backward()
            optimizer.step()
    verdict: Verdict = session.verdict
    return verdict


@pytest.fixture(scope="module")
def broken_loss() -> Verdict:
    with observe(steps=3) as session:
        model = adapted()
        optimizer = adamw(model)
        for step in range(3):
            optimizer.zero_grad()
            (model(**batch(step)).loss * float("nan")).backward()
            optimizer.step()
    verdict: Verdict = session.verdict
    return verdict


def test_pass_says_why(healthy: Verdict) -> None:
    lines = render(healthy, plain, "train.py").splitlines()
    assert lines[0] == "PASS  train.py learns"
    assert lines[1].startswith("3 optimizer steps observed in ")
    chain = "8 adapter tensors: 8 trainable → 8 with gradient → 8 in an optimizer → 8 changed"
    assert f"  chain      {chain}" in lines
    assert any(re.fullmatch(r"  loss       [▁▂▃▄▅▆▇█]{3}  \d\.\d+ → \d\.\d+", line) for line in lines)
    assert "      the same: optimizer made, first backward, first step" in lines
    assert all(len(line) <= 100 for line in lines), max(lines, key=len)


def test_fail_names_the_cause_shows_the_code_and_what_was_seen(frozen: Verdict) -> None:
    text = render(frozen, plain, "train.py")
    assert text.startswith("FAIL  train.py does not learn as it should: LL103 freeze-after-injection\n")
    assert re.search(r"\| +model\.requires_grad_\(False\)\n +\| +\^+\n", text)
    assert "  = seen: LL901 no parameter is trainable" in text
    assert "  = help: " in text
    assert "0 trainable → 0 with gradient → 8 in an optimizer → 0 changed" in text
    assert re.search(r"freeze at test_reports\.py:\d+ +0 of +25\.8 K +0\.00 %  nothing is trainable", text)
    assert "`lora-lint explain LL103` says more." in text


def test_colours_only_where_they_are_asked_for(frozen: Verdict) -> None:
    assert "\033[" not in render(frozen, plain)
    marked = render(frozen, lambda colour, text: f"<{colour}>{text}</{colour}>", "x")
    assert marked.startswith("<red>FAIL</red>  x does not learn")
    assert "<red>0 trainable</red>" in marked


def test_no_verdict_shows_how_the_program_ended(healthy: Verdict) -> None:
    ended = replace(
        healthy,
        verdict="INCONCLUSIVE",
        reason="the program ended with KeyError: 'x'",
        exit_code=2,
        traceback="Traceback …",
    )
    text = render(ended, plain, "train.py")
    assert text.startswith("INCONCLUSIVE  no verdict on train.py: the program ended with KeyError: 'x'\n")
    assert text.index("How the program ended") < text.index("Training") < text.index("Trainable parameters")
    assert headline(ended, "train.py") == text.splitlines()[0]


def test_a_steering_text_cannot_steer_the_terminal(healthy: Verdict) -> None:
    ended = replace(healthy, verdict="INCONCLUSIVE", reason="bad \033[31m text", exit_code=2)
    assert "\033" not in headline(ended, "x")


def test_json_holds_what_the_text_says(healthy: Verdict) -> None:
    data = json.loads(report_json.render(healthy))
    assert data["chain"] == {
        "tensors": "adapter tensors", "total": 8, "trainable": 8, "with gradient": 8, "in an optimizer": 8, "changed": 8,
    }  # fmt: skip
    assert data["data"] == "3 batches on cpu, 100 % of 60 labels count"
    assert {probe["name"] for probe in data["probes"]} >= {"target-modules", "eval-twice", "save-and-load"}


def test_json_with_numbers_that_are_none(broken_loss: Verdict) -> None:
    data = json.loads(report_json.render(broken_loss), parse_constant=lambda name: pytest.fail(name))
    assert data["losses"][0]["value"] == "nan"


def test_progress_line() -> None:
    line = {"cycles": 0, "steps": 0, "loss": None, "moment": "after get_peft_model"}
    assert progress_line([], 4.2, 3) == "starting · 4 s"
    assert progress_line([line], 14, 3) == "step 0/3 · 14 s · after get_peft_model"
    far = {**line, "cycles": 2, "loss": 2.3456}
    assert progress_line([far], 14, 3) == "step 2/3 · 14 s · loss 2.346"
    assert progress_line([far, {**far, "cycles": 1}], 14, 3) == "step 1/3 · 14 s · loss 2.346 · 2 processes"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_that_is_drawn_over() -> None:
    screen = Terminal()
    show = progress_to(screen, 3)
    line = {"cycles": 1, "steps": 1, "loss": 2.0, "moment": ""}
    show([line], 1.0)
    show([], 1.2)  # the file was being written
    show([line], 2.0)
    assert screen.getvalue() == "\r\033[Kstep 1/3 · 1 s · loss 2\r\033[Kstep 1/3 · 2 s · loss 2"
    assert "\n" not in screen.getvalue()


def test_progress_is_silent_without_a_terminal() -> None:
    stream = io.StringIO()
    progress_to(stream, 3)([], 1.0)
    assert stream.getvalue() == ""


# --- the page ---


@pytest.fixture(scope="module")
def pages(healthy: Verdict, frozen: Verdict, broken_loss: Verdict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    folder = tmp_path_factory.mktemp("pages")
    crash = replace(
        healthy, verdict="INCONCLUSIVE", exit_code=2, reason="the program ended with KeyError: 'x'",
        traceback="Traceback (most recent call last):\n  File \"" + "long/" * 60 + "train.py\", line 1",
    )  # fmt: skip
    for name, verdict in (("pass", healthy), ("fail", frozen), ("nan", broken_loss), ("crash", crash)):
        (folder / f"{name}.html").write_text(page_of(verdict, "<train & co>"), encoding="utf-8")
    return folder


def test_page_is_self_contained(pages: Path) -> None:
    text = (pages / "pass.html").read_text(encoding="utf-8")
    assert text.count("<svg") == 5
    assert "&lt;train &amp; co&gt;" in text
    assert "<script" not in text
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', text)
    assert "@import" not in text
    assert "url(http" not in text
    assert "currentColor" in text, "the plots take the colour of the page's text"


# Asked in the page itself, and left in its title: what is drawn, how wide, how dark, and what was fetched.
_PROBE = """
<script>
window.addEventListener("load", () => {
  const boxes = [...document.querySelectorAll("figure svg")].map(s => s.getBoundingClientRect());
  document.title = JSON.stringify({
    verdict: document.querySelector("h1 .verdict").textContent,
    heading: document.querySelector("h1").textContent.trim(),
    plots: boxes.filter(b => b.width > 200 && b.height > 80).length,
    rows: document.querySelectorAll("table tr").length,
    overflow: document.documentElement.scrollWidth - window.innerWidth,
    background: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.querySelector("figure svg text")).fill,
    fetched: performance.getEntriesByType("resource").length,
  });
});
</script>
"""


def browser() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        pytest.skip("no Chromium here; .ci/run installs it where it may")
    return found


def opened(page: Path, folder: Path, *options: str, width: int = 1200) -> dict[str, Any]:
    """What a browser makes of the page."""
    copy = folder / page.name
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", _PROBE + "</body>"), encoding="utf-8")
    words = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    words += [f"--user-data-dir={folder / 'profile'}", f"--window-size={width},1400", "--virtual-time-budget=5000"]
    done = subprocess.run(
        [*words, *options, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=180, check=True
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title is not None, done.stdout[:2000]
    found: dict[str, Any] = json.loads(html.unescape(title.group(1)))
    return found


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(
    ("name", "verdict", "plots"),
    [("pass", "PASS", 5), ("fail", "FAIL", 2), ("nan", "FAIL", 4), ("crash", "INCONCLUSIVE", 5)],
)
def test_page_in_a_browser(pages: Path, tmp_path: Path, name: str, verdict: str, plots: int) -> None:
    seen = opened(pages / f"{name}.html", tmp_path)
    assert (seen["verdict"], seen["heading"]) == (verdict, f"{verdict} <train & co>")
    assert seen["plots"] >= plots
    assert seen["rows"] > 10
    assert seen["overflow"] <= 0, "the page scrolls sideways"
    assert seen["fetched"] == 0
    assert seen["background"] == "rgb(255, 255, 255)"


@pytest.mark.slow
@pytest.mark.browser
def test_page_in_the_dark_and_on_a_narrow_screen(pages: Path, tmp_path: Path) -> None:
    seen = opened(pages / "pass.html", tmp_path, "--blink-settings=preferredColorScheme=0", width=520)
    assert seen["background"] == "rgb(13, 17, 23)"
    assert seen["ink"] == "rgb(230, 237, 243)", "text in the plots can be read"
    assert seen["overflow"] <= 0, "the page scrolls sideways"


@pytest.mark.slow
@pytest.mark.browser
def test_page_is_drawn(pages: Path, tmp_path: Path) -> None:
    shot = tmp_path / "shot.png"
    words = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    words += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,1600", f"--screenshot={shot}"]
    subprocess.run([*words, (pages / "fail.html").as_uri()], capture_output=True, timeout=180, check=True)
    from matplotlib.image import imread

    pixels = imread(shot)
    red = (pixels[..., 0] > 0.7) & (pixels[..., 1] < 0.3)
    assert red.sum() > 1000, "the verdict's red badge"


def test_text_of_a_session(healthy: Verdict) -> None:
    assert report_text.render(healthy, plain).startswith("PASS  this run learns\n")
