"""The page at /: off unless asked for, closed to other hosts, and in Chromium what it shows.

The tests in a browser need Debian's chromium and chromium-driver, and skip where they are not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli import demo_service
from service.page import _STATIC, FILES

SECONDS = 30.0
EVIL = '<img src="x" onerror="document.title=\'hacked\'"> & <b>bold</b>'


def get(api: Any, path: str, **more: Any) -> httpx.Response:
    answer: httpx.Response = api.runner.run(api.client.get(path, **more))
    return answer


def test_without_the_setting_there_is_no_page(serve: Callable[..., Any]) -> None:
    api = serve().loaded()
    for path in (*FILES, "/page/samples", "/page/titles"):
        assert get(api, path).status_code == 404


def test_every_file_is_served_with_a_policy_that_lets_no_other_host_in(
    serve: Callable[..., Any],
) -> None:
    api = serve(page=True).loaded()
    assert {name for name, _ in FILES.values()} == {one.name for one in _STATIC.iterdir()}
    for path, (name, kind) in FILES.items():
        answer = get(api, path)
        assert answer.content == (_STATIC / name).read_bytes()
        assert answer.headers["content-type"].startswith(kind)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy


def test_no_file_names_another_host_or_brings_scripts_inline() -> None:
    for name, _ in FILES.values():
        text = (_STATIC / name).read_text(encoding="utf-8")
        found = set(re.findall(r"https?://[^\s\"'`]+", text))
        assert found <= {"http://www.w3.org/2000/svg"}  # a name, never asked for
    page = (_STATIC / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?! src=)|<style|\son\w+=|\sstyle=|javascript:", page) == []
    script = (_STATIC / "page.js").read_text(encoding="utf-8")
    assert re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script) == []


def test_samples_are_the_golden_requests_with_the_titles_of_their_items(
    serve: Callable[..., Any], toy: Any, tmp_path: Path
) -> None:
    titles = [f"Film {item}" for item in toy.items]
    api = serve(bundle=toy.write(tmp_path, titles=titles), page=True).loaded()
    found = get(api, "/page/samples").json()
    assert found["samples"] == toy.golden
    assert found["titles"] == {
        "105": "Film 105", "100": "Film 100", "101": "Film 101", "130": "Film 130", "new": None,
    }  # fmt: skip
    asked = api.client.post("/page/titles", json={"ids": ["139", "x"]})
    assert api.runner.run(asked).json() == {"titles": {"139": "Film 139", "x": None}}


@pytest.mark.parametrize("body", ["{", "[]", '{"ids": [1]}', '{"ids": ["a"], "more": 1}'])
def test_a_wrong_question_for_titles_is_refused(serve: Callable[..., Any], body: str) -> None:
    api = serve(page=True).loaded()
    answer = api.runner.run(api.client.post("/page/titles", content=body))
    assert answer.status_code == 422
    assert answer.json()["error"]["type"] == "invalid"


def test_with_a_key_the_files_open_and_what_they_ask_needs_it(serve: Callable[..., Any]) -> None:
    api = serve(page=True, api_key="secret").loaded()
    assert {get(api, path).status_code for path in FILES} == {200}
    assert get(api, "/page/samples").status_code == 401
    key = {"authorization": "Bearer secret"}
    assert get(api, "/page/samples", headers=key).status_code == 200


def test_the_page_is_no_part_of_the_described_interface(serve: Callable[..., Any]) -> None:
    paths = set(get(serve(page=True), "/openapi.json").json()["paths"])
    assert paths == set(get(serve(), "/openapi.json").json()["paths"])


def test_before_a_model_is_there_the_page_is_told_so(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    api = serve(bundle=tmp_path / "none", page=True)
    answer = get(api, "/page/samples")
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "not_ready"


# --- in Chromium ---------------------------------------------------------------------------------


@contextmanager
def served(bundle: Path, *flags: str) -> Iterator[str]:
    """The address of a service process with the page."""
    port = demo_service.free_port()
    service = demo_service.start(bundle, port, "--page", "--deadline-ms", "10000", *flags)
    try:
        yield service.url
    finally:
        service.stop()


@pytest.fixture(scope="module")
def url(toy: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service of a bundle with both modes and with titles that hold markup."""
    titles = [EVIL if item == "101" else f"Film {item}" for item in toy.items]
    folder = tmp_path_factory.mktemp("page")
    with served(toy.write(folder, generates=toy.generator(), titles=titles)) as address:
        yield address


class Seen:
    """The page as a person sees it."""

    def __init__(self, chromium: Any, url: str) -> None:
        self.chromium, self.url = chromium, url
        for kind in ("browser", "performance"):
            chromium.get_log(kind)  # what came before is not of this page
        self.width(1200)
        chromium.get(url)

    def js(self, code: str, *arguments: Any) -> Any:
        return self.chromium.execute_script(f"return {code}", *arguments)

    def until(self, condition: str) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        idle = "document.getElementById('lists').getAttribute('aria-busy') === 'false'"
        WebDriverWait(self.chromium, SECONDS).until(lambda _: self.js(f"{idle} && ({condition})"))

    def width(self, pixels: int, scheme: str = "light") -> None:
        """The size of the window, and what the person prefers."""
        self.chromium.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": pixels, "height": 800, "deviceScaleFactor": 1, "mobile": pixels < 500},
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.js(
            "[...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", selector
        )
        return found

    @property
    def request(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.js("document.getElementById('body').value"))
        return body

    def pick(self, place: int) -> None:
        from selenium.webdriver.common.by import By
        from selenium.webdriver.support.ui import Select

        before = self.js("document.getElementById('answer').textContent")
        Select(self.chromium.find_element(By.ID, "sample")).select_by_index(place)
        self.until(f"document.getElementById('answer').textContent !== {json.dumps(before)}")

    def type(self, request: dict[str, Any] | str) -> None:
        """Put text into the request and press Ctrl+Enter."""
        from selenium.webdriver.common.by import By
        from selenium.webdriver.common.keys import Keys

        text = request if isinstance(request, str) else json.dumps(request)
        area = self.chromium.find_element(By.ID, "body")
        area.clear()
        area.send_keys(text, Keys.CONTROL, Keys.ENTER)


@pytest.fixture
def seen(chromium: Any, url: str) -> Seen:
    """The page, its first sample answered."""
    page = Seen(chromium, url)
    page.until("document.querySelectorAll('#after li').length")
    return page


def answer_of(url: str, request: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(f"{url}/rerank", json=request, trust_env=False).json()
    return answer


def shown(results: list[dict[str, Any]]) -> list[str]:
    return [EVIL if one["id"] == "101" else f"Film {one['id']}" for one in results]


@pytest.mark.parametrize(
    ("user", "history", "said"),
    [
        ({"age": 31.25, "job": "nurse"}, ["a", "b"], "31.25, nurse · a history of 2, 1 candidate"),
        ({"age": None, "job": "nurse"}, [], "nurse · no history, 1 candidate"),
        ({}, ["a", "b", "c"], "a history of 3, 1 candidate"),
        ({"age": None, "job": ""}, [], "nothing known of the person, 1 candidate"),
    ],
)
def test_a_sample_is_called_by_what_is_known_of_it(
    seen: Seen, user: dict[str, Any], history: list[str], said: str
) -> None:
    request = {"user": {"features": user}, "history": history, "candidates": ["x"]}
    assert seen.js("describe(arguments[0], 0)", request) == f"1: {said}"


@pytest.mark.parametrize(
    ("waited", "said"),
    [
        (25.1, "23.22 ms in the service, 25.10 ms with the way there and back"),
        (10.0, "23.22 ms in the service"),  # by a clock that is too coarse
    ],
)
def test_the_time_of_the_way_holds_that_of_the_service(
    seen: Seen, waited: float, said: str
) -> None:
    stages = ("decode", "queue", "encode", "score", "order")
    timings = dict.fromkeys(stages, 4.0) | {"total": 23.22}
    seen.js("showTimes(arguments[0], arguments[1])", timings, waited)
    assert seen.texts("#total") == [said]
    assert seen.texts("#stages dt") == [*stages, "rest"]


def test_the_list_after_is_what_the_service_answers(seen: Seen) -> None:
    seen.pick(1)
    seen.pick(0)
    assert seen.request["candidates"] == ["100", "101", "130"]
    results = answer_of(seen.url, seen.request)["results"]
    assert [one["id"] for one in results] == ["101", "100", "130"]  # by price: 1, 0, 0
    assert seen.texts("#after .title") == shown(results)
    assert seen.texts("#after .score > span") == [f"{one['score']:.3f}" for one in results]
    assert seen.texts("#before .title") == ["Film 100", EVIL, "Film 130"]
    assert seen.texts("#after .delta .visually-hidden") == [
        "up 1 from 2",
        "down 1 from 1",
        "stayed",
    ]
    assert seen.texts("#history li") == ["Film 105"]
    assert seen.texts("#model") == ["toy-s · version 1"]
    assert len(seen.texts("#lines path")) == 3
    assert seen.texts("#stages dt")[:5] == ["decode", "queue", "encode", "score", "order"]


def test_a_title_with_markup_stays_text(seen: Seen) -> None:
    assert EVIL in seen.texts("#after .title")
    assert seen.js("document.querySelectorAll('main img, main b').length") == 0
    assert seen.chromium.title == "psad: a list before and after"


def test_nothing_is_asked_of_another_host_and_the_console_stays_empty(seen: Seen) -> None:
    seen.pick(1)
    assert seen.chromium.get_log("browser") == []
    events = [json.loads(one["message"])["message"] for one in seen.chromium.get_log("performance")]
    asked = [
        one["params"]["request"]["url"]
        for one in events
        if one["method"] == "Network.requestWillBeSent"
    ]
    assert {f"{seen.url}/rerank", f"{seen.url}/page.js", f"{seen.url}/page.css"} <= set(asked)
    assert [one for one in asked if not one.startswith(f"{seen.url}/")] == []


def test_an_edited_request_is_sent_and_the_controls_follow_it(seen: Seen) -> None:
    seen.type({"candidates": {"id": ["100", "109", "x-1"]}, "top_k": 2, "mode": "generator"})
    seen.until("document.querySelectorAll('#after li').length === 2")
    assert seen.texts("#before .title") == ["Film 100", "Film 109", "unknown item x-1"]
    results = answer_of(seen.url, seen.request)["results"]
    places = seen.js(
        "[...document.querySelectorAll('#after li')].map((one) => Number(one.dataset.index))"
    )
    assert [one["index"] for one in results] == places
    assert seen.js("document.querySelector('input[name=mode]:checked').value") == "generator"
    assert seen.js("document.getElementById('top').value") == "2"
    assert seen.texts("#after-title") == ["by the generator"]
    assert len(seen.texts("#before .gone")) == 1


def test_a_fallback_is_marked_for_everybody_to_see(seen: Seen) -> None:
    seen.type({**seen.request, "deadline_ms": 0.001})
    seen.until("!document.getElementById('notice').hidden")
    assert seen.js("document.getElementById('notice').className") == "fallback"
    assert "Fallback (deadline)" in seen.texts("#notice strong")[0]
    assert set(seen.texts("#after .note")) == {"no score"}


@pytest.mark.parametrize(
    ("request_text", "said", "where"),
    [
        ('{"candidates": ["1"], "topk": 2}', "422 · unknown_key", "Where: topk"),
        ('{"candidates": ["1", "1"]}', "422 · duplicate_id", "Where: candidates[1]"),
        ("{no", "not_json", "not JSON"),
    ],
)
def test_an_error_is_shown_with_its_place(
    seen: Seen, request_text: str, said: str, where: str
) -> None:
    seen.type(request_text)
    seen.until("document.getElementById('notice').className === 'error'")
    assert seen.texts("#notice strong") == [said]
    assert where in " ".join(seen.texts("#notice p"))
    assert seen.js("document.getElementById('lists').className") == "stale"
    seen.pick(1)
    assert seen.js("document.getElementById('notice').hidden")


def test_everything_is_reached_by_the_keyboard_in_the_order_it_is_read(seen: Seen) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    reached = []
    for _ in range(9):
        ActionChains(seen.chromium).send_keys(Keys.TAB).perform()
        reached.append(seen.js("document.activeElement.id || document.activeElement.name"))
    assert reached == [
        "previous", "sample", "next", "mode", "top", "send", "body", "again", "reset",
    ]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("pixels", [400, 1200])
def test_it_fits_a_phone_and_follows_the_scheme(seen: Seen, scheme: str, pixels: int) -> None:
    seen.width(pixels, scheme)
    assert seen.js("document.documentElement.scrollWidth") <= pixels
    colour = seen.js("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", colour)))
    assert (brightness < 200) == (scheme == "dark")


def test_where_the_service_has_a_key_the_page_asks_for_it(chromium: Any, bundle: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    with served(bundle, "--api-key", "secret") as address:
        page = Seen(chromium, address)
        WebDriverWait(chromium, SECONDS).until(
            lambda _: page.js("document.activeElement.id === 'key'")
        )
        assert page.texts("#notice strong") == ["401 · unauthorized"]
        assert page.texts("#after li") == []
        chromium.find_element(By.ID, "key").send_keys("secret", Keys.ENTER)
        page.until("document.querySelectorAll('#after li').length")
        assert page.js("document.getElementById('notice').hidden")


def test_the_policy_of_docs_blocks_nothing_that_it_needs(chromium: Any, url: str) -> None:
    chromium.get_log("browser")
    chromium.get(f"{url}/docs")
    said = [one["message"] for one in chromium.get_log("browser")]
    assert not [line for line in said if "Content Security Policy" in line]
    assert chromium.title == "psad reranking"
