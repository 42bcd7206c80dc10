from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from facegen_inference.errors import UserError
from facegen_training.cohort.dataset import Dataset
from facegen_training.fitting.config import AugmentConfig, FitConfig
from facegen_training.fitting.loader import Loader, Share
from facegen_training.networks.pix2pix3d_learner import VolumeSamples


def echo(row: int, random: np.random.Generator) -> dict[str, Tensor]:
    return {"row": torch.tensor(row), "random": torch.tensor(random.random())}


def stream(
    config: FitConfig, rank: int = 0, world: int = 1, begin: int = 0
) -> list[dict[str, list[float]]]:
    loader = Loader(echo, Share(config, rank, world, list(range(10, 20))))
    loader.begin_at(begin)
    steps = []
    for _ in range(begin, config.steps):
        batches = loader.step()
        steps.append({k: torch.cat([b[k] for b in batches]).tolist() for k in batches[0]})
    loader.close()
    return steps


CONFIG = FitConfig(steps=5, batch=2, accumulate=2)


def test_any_number_of_workers_makes_the_same_samples(people: Dataset) -> None:
    sample = VolumeSamples(people, AugmentConfig())
    found = []
    for workers in (0, 2):
        config = replace(CONFIG, workers=workers, steps=3)
        loader = Loader(sample, Share(config, 0, 1, people.rows("train")))
        for begin in (0, 1):  # the second time with the processes of the first
            loader.begin_at(begin)
            found.append([batch for _ in range(2) for batch in loader.step()])
        assert loader.waited > 0
        loader.close()
    assert torch.equal(found[0][2]["bone"], found[1][0]["bone"])
    for alone, several in zip(found[0] + found[1], found[2] + found[3], strict=True):
        assert all(torch.equal(alone[key], several[key]) for key in alone)


def test_to_resume_is_to_begin_at_another_step() -> None:
    assert stream(CONFIG, begin=3) == stream(CONFIG)[3:]


def test_ranks_share_out_a_step_and_none_is_done_twice() -> None:
    both = [stream(replace(CONFIG, accumulate=1), rank, 2) for rank in (0, 1)]
    alone = stream(CONFIG)
    for mine, yours, all_of_them in zip(*both, alone, strict=True):
        assert mine["row"] + yours["row"] == all_of_them["row"]
        assert mine["random"] + yours["random"] == all_of_them["random"]
        assert len(set(all_of_them["row"])) == 4


def test_another_seed_gives_other_samples() -> None:
    assert stream(CONFIG) != stream(replace(CONFIG, seed=1))


def test_no_one_to_learn_from_is_said() -> None:
    with pytest.raises(UserError, match="no one to learn from"):
        Loader(echo, Share(CONFIG, 0, 1, []))


def test_fewer_people_than_a_batch_are_taken_more_than_once() -> None:
    loader = Loader(echo, Share(replace(CONFIG, batch=8), 0, 1, [4]))
    loader.begin_at(0)
    assert set(loader.step()[0]["row"].tolist()) == {4}
