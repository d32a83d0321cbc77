"""Attention as one node: what ONNX Runtime makes of every form of mask and bias that models use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from export.onnx import OPSET
from export.runtime import session
from model.layers import Attention

WIDTH, HEADS = 8, 2


class Attending(nn.Module):
    """Attention with arguments in a fixed order, the bias last where there is one."""

    def __init__(self, post_bias: bool) -> None:
        super().__init__()
        self.attention = Attention(WIDTH, HEADS, post_bias)

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B, Q, d)"""
        return torch.as_tensor(self.attention(*inputs))


def exported(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> Any:
    dynamic = torch.export.Dim.DYNAMIC
    shapes = tuple({axis: dynamic for axis, n in enumerate(x.shape) if n > 1 and n != WIDTH}
                   for x in inputs)  # fmt: skip
    program = torch.onnx.export(module.eval(), inputs, dynamo=True, opset_version=OPSET,
                                dynamic_shapes=(shapes,), external_data=False)  # fmt: skip
    assert program is not None
    onnx.save(program.model_proto, path)
    return session(path)


def arrays(lists: int, queries: int, keys: int, *, row: bool, bias: str | None) -> Any:
    random = torch.Generator().manual_seed(lists)
    mask = torch.rand(lists, 1 if row else queries, keys, generator=random) < 0.7
    mask[..., 0] = True
    made = [torch.randn(lists, n, WIDTH, generator=random) for n in (queries, keys)] + [mask]
    sizes = {"own": (lists, queries, keys), "row": (lists, 1, keys), "all": (1, queries, keys)}
    if bias:
        made.append(torch.randn(sizes[bias], generator=random))
    return tuple(made)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("bias", "row", "post"),
    [(None, True, False), ("own", False, False), ("row", True, False), ("all", True, False),
     ("own", False, True)],
)  # fmt: skip
def test_a_graphs_attention_is_that_of_the_layer_at_every_size(
    tmp_path: Path, bias: str | None, row: bool, post: bool
) -> None:
    torch.manual_seed(0)
    module = Attending(post)
    runtime = exported(module, arrays(2, 3, 5, row=row, bias=bias), tmp_path / "a.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node]
    after = post and bias is not None  # as printed: behind the softmax, and no node of its own
    assert (kinds.count("Attention"), kinds.count("Softmax")) == ((0, 1) if after else (1, 0))
    for sizes in ((2, 3, 5), (4, 6, 2), (3, 2, 9)):
        inputs = arrays(*sizes, row=row, bias=bias)
        names = [one.name for one in runtime.get_inputs()]
        found = runtime.run(None, dict(zip(names, (x.numpy() for x in inputs), strict=True)))[0]
        with torch.inference_mode():
            expected = module(*inputs).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)
