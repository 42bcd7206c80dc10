"""Settings of the field's two baselines, `depthmap-cgan` and `pix2pix3d`; knows no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

FAN_MM = 75.0
"""Distance from the axis at which the rows of a fan lie as far apart as those between the fans."""


@dataclass(frozen=True)
class MapGeometry:
    """Where the rays of a depth map go; lengths in mm of the Frankfurt frame.

    Attributes
    ----------
    rows, columns
        Of the map, about 2.5 mm a pixel on a head as they are.
    axis_y_mm
        The axis stands at x = 0 and this y.
    axis_z_mm
        Lower and upper end of the axis.
    turn_deg
        Rays turn this far to either side of straight ahead.
    below_deg, above_deg
        How far they fan out below the lower and above the upper end.
    radii_mm
        A crossing is looked for between these distances from the axis.
    step_mm
        Spacing of the samples along a ray; between them a field is taken as linear.
    """

    rows: int = 96
    columns: int = 112
    axis_y_mm: float = -20.0
    axis_z_mm: tuple[float, float] = (-60.0, 30.0)
    turn_deg: float = 110.0
    below_deg: float = 65.0
    above_deg: float = 50.0
    radii_mm: tuple[float, float] = (10.0, 134.0)
    step_mm: float = 2.0

    @property
    def arc_mm(self) -> tuple[float, float]:
        """Height of the lowest and the highest row along the axis and its fans, mm.

        A degree of fan counts as it would at `FAN_MM` from the axis.
        """
        low, high = self.axis_z_mm
        return (
            low - FAN_MM * math.radians(self.below_deg),
            high + FAN_MM * math.radians(self.above_deg),
        )


@dataclass(frozen=True)
class DepthmapConfig:
    """The depth-map GAN and what it costs.

    Attributes
    ----------
    geometry
        The rays.
    width, levels
        Channels of the generator's first level, half as many again at each level below; levels.
    coarsest
        What is predicted has this many pixels of the map a pixel, 1 or 2: 2 where the scans'
        voxels are as wide as that.
    discriminator_width
        Channels of its first layer.
    reach_mm
        Bone deeper than this under the mean skin is not looked at.
    influence_mm
        Where a difference to the mean bone loses influence: ``d * exp(-(d / influence)^2)``.
    l1_weight, condition_weight, adversarial_weight, spread_weight
        Weights of the generator's costs, lengths in units of 10 mm (l1_weight: Isola et al. 2017).
    copies
        Augmented copies of each person; a sample is one of them or its mirror image.
    swell_mm
        SD of a smooth random change of radius, of bone and skin together, in each sample.
    dropout
        Chance of a channel to be left out in the generator's decoder (pix2pix's noise).
    kept_mb
        Copies kept in memory in each process that makes samples; others are made again.
    """

    geometry: MapGeometry = field(default_factory=MapGeometry)
    width: int = 32
    levels: int = 3
    coarsest: int = 2
    discriminator_width: int = 32
    reach_mm: float = 40.0
    influence_mm: float = 15.0
    l1_weight: float = 100.0
    condition_weight: float = 10.0
    adversarial_weight: float = 1.0
    spread_weight: float = 2.0
    copies: int = 12
    swell_mm: float = 2.0
    dropout: float = 0.3
    kept_mb: int = 500


@dataclass(frozen=True)
class VolumeGanConfig:
    """The 3-D pix2pix at a size that a processor trains, and what it costs.

    Attributes
    ----------
    ngf, ndf
        Channels of the first level of the generator and of the discriminator.
    depth
        Levels of the generator, each halving every axis of the coarse grid.
    patch_layers
        Strided layers of the discriminator.
    l1_weight, adversarial_weight
        Weights of the generator's costs; the distance counts in units of 10 mm (100 to 1: Isola et
        al. 2017).
    """

    ngf: int = 24
    ndf: int = 16
    depth: int = 4
    patch_layers: int = 2
    l1_weight: float = 100.0
    adversarial_weight: float = 1.0
