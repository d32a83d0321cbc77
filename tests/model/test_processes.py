"""Several processes train one model: gradients are shared, and one of them writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from data.dataset import Dataset

ROOT = Path(__file__).parents[2]


# `psad`, and the second process takes longer over its part of every checkpoint
LATE = """
import os, time
from accelerate import accelerator
from cli.main import main

save = accelerator.save_accelerator_state

def late(*arguments, **named):
    time.sleep(0.5 * int(os.environ["RANK"]))
    return save(*arguments, **named)

accelerator.save_accelerator_state = late
main()
"""


def test_two_processes_train_one_run(dataset: Dataset, tmp_path: Path) -> None:
    run, script = tmp_path / "run", tmp_path / "late.py"
    script.write_text(LATE)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
        str(script), "train", str(dataset.folder), str(run), "--model", "dnn", "epochs=2",
        "batch_size=96",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("validation lists") == 1  # the main process alone speaks
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["training"]["epochs"] == 2
    assert (run / "weights.safetensors").exists()
