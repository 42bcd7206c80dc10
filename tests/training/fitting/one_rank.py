"""One rank of runs on several: ``one_rank.py MANIFEST JOBS``; each job is fitted in turn.

JOBS is JSON: [{"run": folder, "settings": data, "port": number, "stop": step or null}, …].
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any


def main() -> None:
    warnings.simplefilter("error")
    from facegen_training.cohort.dataset import read_dataset
    from facegen_training.fitting.config import config_from_data
    from facegen_training.fitting.fit import fit
    from facegen_training.fitting.stop import Stop
    from facegen_training.fitting.training import Aids

    data = read_dataset(Path(sys.argv[1]))
    for job in json.loads(sys.argv[2]):
        os.environ["MASTER_PORT"] = str(job["port"])
        stop = Stop()

        def say(line: dict[str, Any], stop: Stop = stop, job: dict[str, Any] = job) -> None:
            stop.asked = job["stop"] is not None and line["step"] >= job["stop"]

        fit(data, Path(job["run"]), config_from_data(job["settings"]), Aids(say, stop))


if __name__ == "__main__":
    main()
