import re

import pytest

from data.page import (
    Bar,
    Card,
    Cards,
    Figure,
    Figures,
    Noted,
    Section,
    Table,
    Text,
    Warnings,
    page,
    share,
)
from data.pictures import INK, ONE, picture, short
from tests.data.pages import Page

EVIL = '<script>alert("1")</script>&'


def line(axes) -> None:
    axes.plot([1, 2, 3], [0.2, 0.4, 0.1], color=ONE)
    axes.set_xlabel("a < b & $c")


def test_a_page_shows_its_parts_in_order_and_closes_every_tag():
    made = Page(
        page(
            "Name",
            [
                Section("", [Cards([Card("12", "lists")]), Warnings(["careful"])]),
                Section("Second", [Table(["a", "b"], [["x", Bar(0.5, "half")]], [1])], note="why"),
                Section("Third", [Text("words"), Table(["c"], [[Noted("big", "small")]])]),
            ],
            lead="lead",
            foot="foot",
        )
    )
    assert made.texts == [
        "Name", "Name", "lead", "12", "lists", "careful", "Second", "why", "a", "b", "x", "half",
        "Third", "words", "c", "big", "small", "foot",
    ]  # fmt: skip
    assert made.tables == [[["a", "b"], ["x", "half"]], [["c"], ["big small"]]]


def test_commands_in_sentences_are_set_apart_and_stay_escaped():
    text = page("t", [Section("s", [Text("run `psad <x>` or `it")], note="see `docs`")])
    assert "run <code>psad &lt;x&gt;</code> or `it" in text
    assert "see <code>docs</code>" in text


def test_a_picture_makes_room_for_the_name_of_its_y_axis():
    def named(axes) -> None:
        line(axes)
        axes.set_ylabel("lists")
        seen.append(axes)

    seen = []
    picture(lambda axes: (line(axes), seen.append(axes)), "plain")
    picture(named, "named")
    plain, with_name = (one.get_position().x0 for one in seen)
    assert with_name > plain


def test_every_text_is_shown_as_it_is_and_never_becomes_markup():
    parts = [
        Cards([Card(EVIL, EVIL)]), Warnings([EVIL]), Text(EVIL),
        Table([EVIL], [[EVIL], [Bar(0.5, EVIL)], [Noted(EVIL, EVIL)]]),
        Figures([Figure(EVIL, picture(line, "line"), EVIL, [("one", EVIL)])]),
    ]  # fmt: skip
    text = page(EVIL, [Section(EVIL, parts, note=EVIL)], lead=EVIL, foot=EVIL)
    made = Page(text)
    assert "script" not in made.tags
    assert made.texts.count(EVIL) == 18


def test_a_page_asks_nothing_of_other_hosts_and_runs_nothing():
    figures = Figures([Figure(name, picture(line, name)) for name in ("one", "two")])
    made = Page(page("x", [Section("", [figures])]))
    assert not {"script", "link", "img", "iframe"} & set(made.tags)
    assert all(link.startswith("#") for link in made.links)


def test_a_picture_has_the_pages_colours_and_letters_and_is_the_same_each_time():
    svg = picture(line, "line")
    assert svg == picture(line, "line")
    assert "var(--one)" in svg
    assert "currentColor" in svg
    assert ONE not in svg
    assert INK not in svg
    assert "<text" in svg
    assert "a &lt; b &amp; $c" in svg
    assert "DejaVu" not in svg
    head = svg[: svg.index(">")]
    assert "viewBox" in head
    assert "width=" not in head


def test_pictures_on_one_page_share_no_id():
    ids = [set(re.findall(r' id="([^"]+)"', picture(line, name))) for name in ("one", "two")]
    assert ids[0]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize(
    ("part", "written"),
    [(0, "0.0%"), (1, "100.0%"), (0.1234, "12.3%"), (0.00123, "0.12%"), (1e-6, "under 0.01%"),
     (float("nan"), "–")],
)  # fmt: skip
def test_a_share_is_never_shown_as_nothing_where_there_is_some(part, written):
    assert share(part) == written


@pytest.mark.parametrize(
    ("number", "written"),
    [(0, "0"), (9500, "9,500"), (20_000, "20k"), (12_500, "12.5k"), (1_500_000, "1.5M")],
)
def test_a_long_number_on_an_axis_is_short(number, written):
    assert short(number) == written
