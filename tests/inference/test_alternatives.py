from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from facegen_inference.alternatives import (
    APART_MM,
    build_latents,
    builds,
    drawn_apart,
    least_apart_mm,
)
from facegen_inference.card import Calibration

PLAIN = Calibration(factor50=1, factor90=1, people=1, note="")


def effects_of(*sizes: float, points: int = 400) -> np.ndarray:
    """Independent axes with so many mm of root mean square each."""
    random = np.random.default_rng(5)
    rows = np.linalg.qr(random.normal(size=(points, len(sizes))))[0].T * np.sqrt(points)
    return np.asarray(rows * np.array(sizes)[:, None], dtype=np.float32)


def apart(latents: dict[str, np.ndarray], effects: np.ndarray) -> float:
    shapes = [latent @ effects for latent in latents.values()]
    return min(float(np.sqrt(((a - b) ** 2).mean())) for a, b in combinations(shapes, 2))


@pytest.mark.parametrize("sizes", [(1.8, 1.0, 0.6), (1.4, 0.9, 0.8, 0.6, 0.5)])
@pytest.mark.parametrize("seed", range(4))
def test_eight_alternatives_differ_from_each_other(sizes: tuple[float, ...], seed: int) -> None:
    effects = effects_of(*sizes)
    first = build_latents(len(sizes), PLAIN)
    more = drawn_apart(first, effects, 5, seed)
    assert list(more) == [f"alternative {n}" for n in range(1, 6)]
    assert apart({**first, **more}, effects) >= APART_MM
    assert least_apart_mm({**first, **more}, effects) == pytest.approx(
        apart({**first, **more}, effects), rel=1e-4
    )
    assert max(float(np.abs(latent).max()) for latent in more.values()) < 7


def test_plain_draws_would_often_be_too_near() -> None:
    effects = effects_of(1.8, 1.0, 0.6)
    random = np.random.default_rng(0)
    near = [
        apart({str(n): random.normal(size=3) for n in range(8)}, effects) < APART_MM
        for _ in range(20)
    ]
    assert np.mean(near) > 0.8, "else nothing was to be done"


def test_the_seed_decides() -> None:
    effects, first = effects_of(1.8, 1.0), build_latents(2, PLAIN)
    one, same, other = (drawn_apart(first, effects, 3, seed) for seed in (4, 4, 5))
    assert all((one[name] == same[name]).all() for name in one)
    assert any((one[name] != other[name]).any() for name in one)


def test_axes_that_hardly_move_the_face_still_give_what_was_asked_for() -> None:
    effects, first = effects_of(0.01), build_latents(1, PLAIN)
    more = drawn_apart(first, effects, 4, 0)
    assert len(more) == 4
    assert least_apart_mm({**first, **more}, effects) < 0.1


def test_builds_are_where_the_card_says() -> None:
    calibration = Calibration(factor50=1, factor90=1, people=1, note="", thin_sd=-0.9, heavy_sd=1.6)
    assert builds(calibration) == {"thin": -0.9, "average": 0.0, "heavy": 1.6}
    assert build_latents(3, calibration)["heavy"].tolist() == pytest.approx([1.6, 0, 0])
    assert build_latents(0, calibration) == {}
