import io
import sys

from data.progress import FEW, SMALL, bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(monkeypatch, stream: io.StringIO, **size: int) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with bar("checking", 10, "row", **size) as progress:
        progress.update(10)
    return stream.getvalue()


def test_a_bar_names_its_phase_where_there_is_a_terminal_and_much_to_do(monkeypatch):
    for size in ({"rows": FEW + 1}, {"size": SMALL + 1}):
        shown = drawn(monkeypatch, Terminal(), **size)
        assert "checking" in shown
        assert "10/10" in shown


def test_a_bar_is_silent_in_a_pipe_and_for_a_small_log(monkeypatch):
    assert drawn(monkeypatch, io.StringIO(), rows=FEW + 1) == ""
    assert drawn(monkeypatch, Terminal(), rows=FEW) == ""
