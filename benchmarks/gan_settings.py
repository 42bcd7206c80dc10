"""Our settings against eager TF32, for the full-volume baseline: same step, same run.

    python benchmarks/gan_settings.py --out results/
    python benchmarks/gan_settings.py --size 48x96x96 --channels 16 --out results/     # without GPU

Each line adds one setting: bf16, channels last, activations computed again, compilation.  The
networks, the volume and so the FLOPs of the training step are the same for all; what is computed
again comes on top and is not credited.  Runs where torch and MONAI are alone, and asks no network
for anything: on a GPU machine copy the checkout and call it as above.  Without a GPU fp32 stands
for TF32.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
for folder in ("inference", "training"):
    sys.path.insert(0, str(ROOT / folder))

from facegen_training.networks.pix2pix3d import Pix2PixConfig  # noqa: E402
from facegen_training.planning.calibration import write_data  # noqa: E402
from facegen_training.planning.flops import step_flops  # noqa: E402
from facegen_training.planning.measure import Settings, describe_machine, time_step  # noqa: E402
from facegen_training.planning.workloads import Request  # noqa: E402


def ways(gpu: bool) -> list[tuple[Settings, bool]]:
    """Return what is compared, the eager baseline first: settings, and whether checkpointed."""
    return [
        (Settings("tf32" if gpu else "fp32"), False),
        (Settings("bf16"), False),
        (Settings("bf16", channels_last=True), False),
        (Settings("bf16", channels_last=True), True),
        (Settings("bf16", channels_last=True, compile=True), False),
        (Settings("bf16", channels_last=True, compile=True), True),
    ]


def main() -> None:
    """Time all and write ``gan_settings.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", default="104x512x512")
    parser.add_argument("--channels", type=int, default=136)
    parser.add_argument("--depth", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--no-compile", action="store_true")
    given = parser.parse_args()
    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    z, y, x = (int(n) for n in given.size.split("x"))
    strides = Pix2PixConfig().z_strides[: given.depth]
    volume = Pix2PixConfig(ngf=given.channels, ndf=given.channels, z_strides=strides)
    flops = step_flops(Request("pix2pix3d", (z, y, x), volume=volume))
    print(f"{flops / 1e12:.4g} TFLOP a step, {given.size}, {given.channels} channels")
    rows: list[dict[str, object]] = []
    baseline = 0.0
    for settings, recompute in ways(gpu):
        if settings.compile and given.no_compile:
            continue
        request = Request("pix2pix3d", (z, y, x), recompute=recompute, volume=volume)
        words = settings.words(recompute)
        try:
            timed = time_step(request, settings, device, given.seconds)
        except torch.OutOfMemoryError:
            rows.append({"settings": words, "left_out": "out of memory"})
            print(f"{words:45} out of memory")
            continue
        finally:
            if gpu:
                torch.cuda.empty_cache()
        baseline = baseline or timed.seconds
        faster = baseline / timed.seconds
        rows.append({"settings": words, "faster": faster, **asdict(timed)})
        print(
            f"{words:45} {timed.seconds:8.3f} s  {faster:5.2f}x  "
            f"{flops / 1e12 / timed.seconds:8.4g} TFLOP/s of the step  "
            f"{timed.peak_bytes / 1e9:6.2f} GB {timed.peak_kind}"
        )
    given.out.mkdir(parents=True, exist_ok=True)
    result = {
        "machine": describe_machine(device),
        "size": given.size,
        "channels": given.channels,
        "tflop_a_step": flops / 1e12,
        "rows": rows,
    }
    write_data(given.out / "gan_settings.json", result)
    print(json.dumps(result["machine"]))


if __name__ == "__main__":
    main()
