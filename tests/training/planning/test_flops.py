"""Counts of whole steps: the baseline's known number, and counts by hand."""

from __future__ import annotations

import pytest
import torch

from facegen_inference.errors import UserError
from facegen_training.planning.flops import step_flops
from facegen_training.planning.workloads import WORKLOADS, Request, build_workload, run_step


def test_the_baseline_step_counts_what_the_plan_says() -> None:
    assert step_flops(Request("pix2pix3d", (104, 512, 512))) / 1e12 == pytest.approx(
        92.74, rel=0.01
    )


def test_computing_again_is_counted() -> None:
    plain = step_flops(Request("pix2pix3d", (104, 512, 512)))
    again = step_flops(Request("pix2pix3d", (104, 512, 512), recompute=True))
    # One more pass of the generator, 12.99, and three of the discriminator, 6.76 TFLOP each.
    assert (again - plain) / 1e12 == pytest.approx(12.99 + 3 * 6.76, rel=0.01)


@pytest.mark.parametrize("network", list(WORKLOADS))
def test_twice_the_batch_is_twice_the_work(network: str) -> None:
    one, two = (step_flops(Request(network, (64, 64, 64), batch=n)) for n in (1, 2))
    assert two == 2 * one > 0


@pytest.mark.parametrize("network", ["sdf", "pix2pix3d-fit", "depthmap-cgan"])
def test_each_player_gets_gradients(network: str) -> None:
    workload = build_workload(Request(network, (32, 32, 32)), "cpu")
    reached = {}

    def after(player: str) -> None:
        grads = [p.grad for p in workload.players[player].parameters()]
        reached[player] = all(g is not None and bool(torch.isfinite(g).all()) for g in grads)

    run_step(workload, workload.batch("cpu"), "fp32", after=after)
    assert reached == dict.fromkeys(workload.players, True)


def test_unknown_networks_and_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="no network 'unet'"):
        build_workload(Request("unet", (64, 64, 64)))
    with pytest.raises(UserError, match="at least 8"):
        build_workload(Request("sdf", (4, 64, 64)))
    with pytest.raises(UserError, match="at least 24"):
        build_workload(Request("pix2pix3d", (16, 64, 64)))
    build_workload(Request("pix2pix3d", (24, 24, 24)))
    with pytest.raises(UserError, match="divisible by four"):
        build_workload(Request("sdf", (64, 50, 64)))
