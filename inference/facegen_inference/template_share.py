"""What a model file holds of the template method: a statistical template and its share.

A network and a template miss different things, so that their average is nearer than either.  The
template travels in the model file's metadata under a key of its own; a file without it is used as
before.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from facegen_inference.errors import ModelError
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.template import LEAST_BONE, lay, skin_fields
from facegen_inference.template_model import TemplateModel, template_from
from facegen_inference.template_registration import BoneField

TEMPLATE_KEY = "facegen_template"
MAX_TEXT = 1 << 24

Floats = NDArray[np.float32]


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    template_version: int = Field(default=1, ge=1, le=1)
    share: float = Field(gt=0, lt=1)
    packed: str = Field(max_length=MAX_TEXT)


@dataclass(frozen=True)
class TemplateShare:
    """A template that is averaged with a network.

    Attributes
    ----------
    share
        Its share, between 0 and 1.
    template
        Of the same people as the network.
    """

    share: float
    template: TemplateModel

    def moved(self, grid: Floats, distance: Floats) -> Floats | None:
        """Return what to add to a network's distances for the average of both.

        Parameters
        ----------
        grid
            (2, k, j, i) the network's input, what `facegen_inference.preprocess.preprocess` gave.
        distance
            (k, j, i) the network's signed distance to the skin, latent zero, mm.

        Returns
        -------
        (k, j, i) float32 mm; None where the template finds hardly any of its bone.
        """
        bone = BoneField(grid[0], grid[1], self.template.spec.grid)
        laid = lay(self.template, bone)
        if laid.found < LEAST_BONE:
            return None
        skin, _ = skin_fields(self.template, laid, np.zeros(len(self.template.other_modes)))
        return np.asarray(np.float32(self.share) * (skin - distance), dtype=np.float32)


def write_template_share(share: float, template: bytes) -> str:
    """Return the text for the metadata, of a share and a template file's content."""
    packed = base64.b64encode(template).decode("ascii")
    return _Stored(share=share, packed=packed).model_dump_json()


def read_template_share(text: str, spec: PreprocessSpec) -> TemplateShare:
    """Read what a model file holds.

    Raises
    ------
    ModelError
        When it is damaged, of a newer version, or made for another preprocessing.
    """
    advice = "Fetch the model file again, or use another one."
    try:
        if len(text) > MAX_TEXT:
            raise ValueError("too long")
        stored = _Stored.model_validate_json(text)
        template = template_from(base64.b64decode(stored.packed, validate=True))
    except (ValueError, ValidationError, RecursionError, binascii.Error) as error:
        raise ModelError(
            "The template in the model file cannot be read.", advice, reason=error
        ) from error
    if template.spec != spec:
        raise ModelError("The template in the model file has another grid than it.", advice)
    return TemplateShare(stored.share, template)
