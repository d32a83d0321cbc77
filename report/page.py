"""The page of a report: its sentences, cards, tables and pictures, in the order they are asked for.

Is it better? For whom? What changes? Show me. What does it cost? What do you not know?
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from data.page import (
    Card,
    Cards,
    Figures,
    Listed,
    Lists,
    Section,
    Span,
    Table,
    Text,
    Warnings,
)
from data.page import page as html
from model.compare import LEVEL_MARGIN, RESAMPLES
from report.answer import SAID, Report, verdict
from report.cost import Costs
from report.examples import Example, Line
from report.measures import FEWEST, FEWEST_USERS, Gain, signed
from report.pictures import agreement, entered, flow, gains
from report.plain import strongest
from report.sides import Sides


def render(report: Report) -> str:
    """The page as HTML."""
    sections = [_answer(report), _overall(report), _for_whom(report), _what_changes(report)]
    if report.examples:
        sections.append(_examples(report))
    sections += [_cost(report), Section("What this log cannot tell", list(_texts(report.limits)))]
    sides, beside = report.sides, ""
    if sides.other is not None:
        beside = f" beside {sides.before_name}"
    title = f"{sides.after_name}{beside} on {sides.dataset.info['name']}"
    foot = " · ".join(f"{name}: {value}" for name, value in report.facts.items())
    return html(title, sections, lead=verdict(report), foot=foot)


def _answer(report: Report) -> Section:
    cards = [
        Card(f"{one.measure.show(one.before)} → {one.measure.show(one.after)}", one.measure.title)
        for one in report.gains
    ]
    cards.append(_time_card(report.costs))
    worse = [f"It is worse for {one.family}: {one.title}." for one in report.slices
             if one.gain is not None and one.gain.verdict == "worse"]  # fmt: skip
    return Section("", [Cards(cards), *([Warnings(worse)] if worse else [])])


def _time_card(costs: Costs) -> Card:
    """The time of each side that has one, with what else the machine did."""
    timed = [one for one in (costs.of("before"), costs.of("after")) if one is not None]
    steps = " → ".join(one.step for one in timed)
    return Card(
        f"{' → '.join(f'{one.p50:.2f}' for one in timed)} ms",
        f"a list (median): {steps}; machine's load {costs.load}",
    )


def _overall(report: Report) -> Section:
    head = ("", report.sides.before_name, report.sides.after_name, "difference", "95% interval", "")
    rows = [(one.measure.title, one.measure.show(one.before), one.measure.show(one.after),
             _signed(one, one.difference), _interval(one), one.verdict)
            for one in report.gains]  # fmt: skip
    note = (
        f"Paired by list; intervals by bootstrap over users ({RESAMPLES:,} resamples). Better: the "
        f"interval lies on the good side of 0. Level, for NDCG@10: it ends above −{LEVEL_MARGIN}."
    )
    return Section("Is the order better?", [
        Table(head, rows, numbers={1, 2, 3, 4}),
        Text(f"The same lists in other orders, from best to worst. {_plain_gain(report)}"),
        _standings(report),
    ], note)  # fmt: skip


def _plain_gain(report: Report) -> str:
    """The model against the strongest order that needs none."""
    plain = strongest(report.standings)
    if plain.gain is None:
        return ""
    said = SAID[plain.gain.verdict].format(
        before=f"the strongest that needs no model, {plain.name}"
    )
    return (
        f"{report.sides.after_name} {said}: "
        f"{signed(plain.gain.difference)}, 95% interval {_interval(plain.gain)}."
    )


def _standings(report: Report) -> Table:
    rows = []
    for one in report.standings:
        beside = ("", "", "")
        if one.gain is not None:
            beside = (signed(one.gain.difference), _interval(one.gain), one.gain.verdict)
        rows.append((one.name, f"{one.value:.3f}", *beside))
    head = ("order", "NDCG@10", f"{report.sides.after_name} beside it", "95% interval", "")
    return Table(head, rows, numbers={1, 2, 3})


def _for_whom(report: Report) -> Section:
    judged = [one.gain.interval for one in report.slices if one.gain is not None]
    low = min([0.0, *(one[0] for one in judged)])
    high = max([0.0, *(one[1] for one in judged)])
    rows: list[tuple[str | Span, ...]] = []
    for one in report.slices:
        named = f"{one.family}: {one.title}"
        if one.gain is None:
            rows.append((named, f"{one.lists:,}", "", "", "", "too few"))
            continue
        gain = one.gain
        rows.append((
            named, f"{one.lists:,}", f"{gain.before:.3f} → {gain.after:.3f}",
            signed(gain.difference), Span(*gain.interval, gain.difference, low, high),
            gain.verdict,
        ))  # fmt: skip
    head = ("lists by", "lists", "NDCG@10", "gain", "95% interval", "")
    note = (
        f"NDCG@10 by kind of list; kinds of fewer than {FEWEST} lists or {FEWEST_USERS} users are "
        "not judged. The thin line is 0. Of so many intervals one in twenty misses the truth by "
        "chance alone."
    )
    return Section("For whom?", [Table(head, rows, numbers={1, 2, 3})], note)


def _what_changes(report: Report) -> Section:
    changes, sides = report.changes, report.sides
    cards = Cards([
        Card(f"{changes.first:.0%}", "of lists begin with another item"),
        Card(f"{changes.any:.0%}", f"of lists differ somewhere in their first {sides.shown}"),
        Card(f"{changes.entered.mean():.1f}", f"items in the first {sides.shown} that were not"),
        Card(f"{changes.moved:.1f}", "places that an item moves by, on average"),
    ])  # fmt: skip
    drawn = Figures([gains(report.sides), agreement(changes), entered(changes), flow(changes)])
    return Section("What changes", [cards, drawn])


def _examples(report: Report) -> Section:
    parts = [_example(one, report.sides) for one in report.examples]
    note = (
        "Chosen by rule: two lists with the median gain, the two that win most and the two that "
        "lose most by NDCG@10. ★ is what the person went on to choose; the model was not shown it."
    )
    return Section("Lists, before and after", parts, note)


def _example(one: Example, sides: Sides) -> Lists:
    history = f"Newest in the history: {', '.join(one.history)}." if one.history else "No history."
    more = "1 more candidate lies" if one.left_out == 1 else f"{one.left_out} more candidates lie"
    return Lists(
        f"List {one.list_id}: {one.why} (NDCG@10 {signed(one.gain, 2)})",
        history,
        (sides.before_name, sides.after_name),
        ([_line(line) for line in one.before],
         [_line(line, place) for place, line in enumerate(one.after, start=1)]),
        f"{more} below." if one.left_out else "",
    )  # fmt: skip


def _line(line: Line, place: int | None = None) -> Listed:
    """`place` is given on the side that moved: then the line says from where."""
    moved = 0 if place is None else line.was - place
    arrow = "" if not moved else f"▲ {moved}" if moved > 0 else f"▼ {-moved}"
    return Listed(line.title, line.chosen, arrow)


def _cost(report: Report) -> Section:
    costs = report.costs
    rows = [(one.step, f"{one.p10:.2f}", f"{one.p50:.2f}", f"{one.p99:.2f}") for one in costs.steps]
    note = (
        "One list at a time, of those judged above, on one thread of this machine, whose load was "
        f"{costs.load} before. {_beside_it(costs)}`psad bench BUNDLE` measures the whole way of a "
        "request through the service."
    )
    parts = [
        *([Warnings(doubts)] if (doubts := list(_doubts(costs))) else []),
        Table(("step", "p10 ms", "p50 ms", "p99 ms"), rows, numbers={1, 2, 3}),
        *_ratio(costs),
    ]
    return Section("What it costs online", parts, note)


def _doubts(costs: Costs) -> Iterator[str]:
    """What these times are not."""
    if costs.load.busy:
        yield (
            "The machine had other work: these times, p99 above all, are longer than on a quiet "
            "one. Time again there before you size a service."
        )
    if costs.unexported:
        yield (
            "A service runs the exported model in ONNX Runtime, for one list much faster than "
            "PyTorch. Choose by that: `psad export` it, then `psad report` with `--bundle`."
        )


def _beside_it(costs: Costs) -> str:
    """What the table leaves out."""
    if len(costs.steps) > sum(one.side is not None for one in costs.steps):
        return ""  # encoding has a row of its own
    return "A request must be encoded besides, which is not counted. "


def _ratio(costs: Costs) -> Iterator[Text]:
    """Both sides beside each other, where both take time."""
    before, after = costs.of("before"), costs.of("after")
    if before is not None and after is not None:
        slow, fast = sorted((before, after), key=lambda one: -one.p10)
        yield Text(
            f"By p10, which other work touches least, {slow.step} takes "
            f"{slow.p10 / fast.p10:.1f} times as long as {fast.step}."
        )


def _texts(lines: Sequence[str]) -> Iterator[Text]:
    for line in lines:
        yield Text(line)


def _signed(one: Gain, value: float) -> str:
    return f"{signed(100 * value, 1)} points" if one.measure.percent else signed(value)


def _interval(one: Gain) -> str:
    low, high = one.interval
    if one.measure.percent:
        return f"{signed(100 * low, 1)} to {signed(100 * high, 1)} points"
    return f"{signed(low)} to {signed(high)}"
