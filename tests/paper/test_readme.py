"""paper/README.md points at code that exists and computes what the table says."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from paper import studies
from paper.studies import hyperparameters

ROOT = Path(__file__).parents[2]
README = (ROOT / "paper/README.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| \((\d+)\) \| .* \| `([\w/.]+):([\w.]+)` \|$", README, re.MULTILINE)


def find(tree: ast.AST, symbol: str) -> ast.AST:
    """The definition of `Class.method` or `function`."""
    for name in symbol.split("."):
        found = [
            node
            for node in ast.iter_child_nodes(tree)
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name
        ]
        assert found, f"no {name} of {symbol}"
        tree = found[0]
    return tree


def test_every_equation_of_the_paper_has_a_row() -> None:
    assert [int(number) for number, _, _ in ROWS] == list(range(1, 14))


@pytest.mark.parametrize(("number", "file", "symbol"), ROWS)
def test_the_symbol_exists_and_marks_the_line_of_its_equation(
    number: str, file: str, symbol: str
) -> None:
    source = (ROOT / file).read_text(encoding="utf-8")
    node = find(ast.parse(source), symbol)
    lines = source.splitlines()[node.lineno - 1 : node.end_lineno]  # type: ignore[attr-defined]
    assert any(re.search(rf"#.*Eq\. \({number}\)", line) for line in lines)


def test_every_study_has_a_row_with_its_lists_and_its_configurations() -> None:
    rows = re.findall(r"^\| [\w ]+ \| `(\w+)` \| (\w+) \| (.*) \|$", README, re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == list(studies.names())
    for name, split, files in rows:
        study = importlib.import_module(f"paper.studies.{name}").STUDY
        named = set(re.findall(r"`([\w.-]+)`", files))
        if "hyperparameters" in named:
            named = (named - {"hyperparameters"}) | set(hyperparameters.STUDY.variants)
        assert split == study.split
        assert named == set(study.variants)


def test_every_setting_that_a_deviation_names_exists() -> None:
    from model.psad.config import Config

    deviations = README.split("## Deviations")[1]
    named = set(re.findall(r"`(\w+)(?:=[^`]*)?`", deviations)) - {"clicked_first", "exposure"}
    assert named <= set(Config.model_fields) | {"robust"}
