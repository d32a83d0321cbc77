"""Arrays in .npy files: mapped, or read into memory and so out of reach of whoever writes to them.

What is mapped is the file itself: a file cut short kills the process that looks at it (SIGBUS), one
that is written over changes what it sees. What is read is what it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap, read_array


def load_array(path: Path, *, mapped: bool) -> npt.NDArray[Any]:
    """The array, not to be written to. Raises OSError or ValueError; never reads a pickle."""
    if mapped:
        return np.asarray(open_memmap(path, mode="r"))
    with path.open("rb") as file:
        array: npt.NDArray[Any] = read_array(file, allow_pickle=False)
    array.flags.writeable = False
    return array
