"""The report as Chromium shows it: whole, at every width, in both schemes, without a fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from report import report_run

BROKEN = """
    const words = [];
    for (const cell of document.querySelectorAll("th, td")) {
        for (const text of [...cell.childNodes].filter(one => one.nodeType === Node.TEXT_NODE)) {
            for (const word of text.data.matchAll(/\\S+/g)) {
                const range = document.createRange();
                range.setStart(text, word.index);
                range.setEnd(text, word.index + word[0].length);
                if (range.getClientRects().length > 1) words.push(word[0]);
            }
        }
    }
    return words;
"""
CLIPPED = """
    return [...document.querySelectorAll("figure svg")].flatMap((svg) => {
        const box = svg.getBoundingClientRect();
        return [...svg.querySelectorAll("text")].filter((text) => {
            const found = text.getBoundingClientRect();
            return found.left < box.left - 1 || found.right > box.right + 1;
        }).map((text) => text.textContent);
    });
"""


@pytest.fixture(scope="module")
def page(run: Path, trees: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_run(run, beside=trees, file=tmp_path_factory.mktemp("page") / "report.html")


def look(chromium: Any, page: Path, width: int, scheme: str) -> None:
    chromium.get_log("browser")
    for command, values in (
        ("Emulation.setDeviceMetricsOverride",
         {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}),
        ("Emulation.setEmulatedMedia",
         {"features": [{"name": "prefers-color-scheme", "value": scheme}]}),
    ):  # fmt: skip
        chromium.execute_cdp_cmd(command, values)
    chromium.get(page.as_uri())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 500, 1200])
def test_nothing_overflows_and_every_text_can_be_told_from_its_ground(
    chromium: Any, page: Path, width: int, scheme: str
) -> None:
    look(chromium, page, width, scheme)
    js = chromium.execute_script
    assert js("return document.documentElement.scrollWidth <= window.innerWidth")
    assert js("return document.querySelectorAll('h2').length") == 6
    assert js("return document.querySelectorAll('figure svg').length") == 4
    assert js(BROKEN) == []
    assert js(CLIPPED) == []
    drawn = "return [...document.querySelectorAll('figure svg')].every(s => s.clientHeight > 80)"
    assert js(drawn)
    light = """
        const shade = (rgb) => rgb.match(/[\\d.]+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0);
        const body = getComputedStyle(document.body);
        return [shade(body.color), shade(body.backgroundColor)];
    """
    ink, ground = js(light)
    assert (ink < ground) == (scheme == "light")
    assert abs(ink - ground) > 300
    assert [one for one in chromium.get_log("browser") if one["level"] == "SEVERE"] == []


def test_the_answer_is_what_is_read_first(chromium: Any, page: Path) -> None:
    look(chromium, page, 1200, "light")
    lead = chromium.execute_script("return document.querySelector('h1 + .lead').innerText")
    assert "NDCG@10" in lead
    assert "lambdamart" in lead
