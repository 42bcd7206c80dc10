from __future__ import annotations

from dataclasses import replace

import torch

from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.augment import coarse_points, plain_sample
from facegen_training.fitting.config import NetConfig
from facegen_training.networks.sdf import SkullToFace, _to_depth, _to_space, up_matrix


def test_half_the_spacing_keeps_planes_and_their_place() -> None:
    ramp = up_matrix(12) @ torch.arange(12.0)
    assert torch.allclose(ramp[6:18], (torch.arange(24.0)[6:18] - 0.5) / 2, atol=1e-5)
    assert torch.allclose(up_matrix(12).sum(dim=1), torch.ones(24), atol=1e-5)


def test_ripples_from_voxel_to_voxel_are_taken_out() -> None:
    ripple = torch.tensor([1.0, -1.0] * 6)
    assert (up_matrix(12) @ ripple)[6:18].abs().max() < 1e-5


def test_blocks_to_depth_and_back_are_the_same() -> None:
    x = torch.arange(2 * 3 * 4 * 6 * 8.0).reshape(2, 3, 4, 6, 8)
    assert torch.equal(_to_space(_to_depth(x)), x)


def test_the_input_grid_is_pooled_as_in_training(people: Dataset) -> None:
    network = SkullToFace(people.spec, NetConfig(8, 2), features=10, rank=2, latents=1)
    seen: list[torch.Tensor] = []
    # Looked into.
    network.coarse = lambda bone, observed, linear, correct: (  # type: ignore[method-assign]
        seen.extend((bone, observed)) or (bone, observed)
    )
    fields = people.fields(0).clone()
    fields[1, :, :5] = 0
    fields[0, :, :5] = people.spec.clip_mm
    network(fields[None, :2], torch.zeros(1, 1))
    sample = plain_sample(fields, people.spec)
    assert torch.equal(seen[1], sample.observed)
    assert torch.allclose(seen[0], sample.bone, atol=1e-3)


def test_behind_the_ears_nothing_is_corrected(coarse_spec: PreprocessSpec) -> None:
    network = SkullToFace(coarse_spec, NetConfig(8, 2), features=10, rank=2, latents=1)
    torch.nn.init.ones_(network.correction.last.bias)
    bone = torch.zeros(1, 1, *network.shape)
    with torch.no_grad():
        distance, _ = network.coarse(bone, bone, bone)
    y = coarse_points(coarse_spec)[..., 1]
    assert (distance[0, 0][y > 20] == 0).all()
    assert (distance[0, 0][y < -20] > 0).all()


def test_a_mirrored_head_gets_the_mirrored_face(coarse_spec: PreprocessSpec) -> None:
    spec = replace(coarse_spec, origin_mm=(-92.0, *coarse_spec.origin_mm[1:]))
    network = SkullToFace(spec, NetConfig(8, 2), features=10, rank=2, latents=1)
    torch.nn.init.normal_(network.correction.last.weight, std=0.1)
    torch.manual_seed(0)
    skull = torch.rand(1, 2, *coarse_spec.shape) * 10
    skull[:, 1] = 1
    none = torch.zeros(1, 1)
    with torch.no_grad():
        distance, spread = network(skull, none)
        mirrored, its_spread = network(skull.flip(-1), none)
        lopsided, _ = network.coarse(
            *(skull[:, n : n + 1, ::2, ::2, ::2] for n in (0, 1)),
            torch.zeros(1, 1, *network.shape),
        )
    assert network.symmetric
    assert torch.allclose(mirrored.flip(-1), distance, atol=1e-4)
    assert torch.allclose(its_spread.flip(-1), spread, atol=1e-4)
    assert (lopsided - lopsided.flip(-1)).abs().max() > 0.01, "the network alone is lopsided"
