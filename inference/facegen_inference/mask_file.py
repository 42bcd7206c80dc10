"""Read a mask: which voxels are not the person (mask, tube, headrest) and are not scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK

from facegen_inference.errors import UserError
from facegen_inference.volume import Volume, matrix_from_sitk


def read_mask(path: Path) -> Volume:
    """Return a mask as a volume of 0 and 1 that lies where its file says.

    Parameters
    ----------
    path
        NIfTI, NRRD or MHA with one number per voxel; whatever is not 0 is masked.

    Raises
    ------
    UserError
        When the file cannot be read as one 3-D volume of numbers.
    """
    advice = "Give a NIfTI, NRRD or MHA volume in the scan's space, 1 where nothing is scored."
    if not path.is_file():
        raise UserError(f"There is no mask {path}.", advice)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise UserError(f"{path.name} cannot be read as a mask.", advice, reason=error) from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UserError(f"{path.name} is not one volume with one number per voxel.", advice)
    values = SimpleITK.GetArrayViewFromImage(image)
    return Volume((values != 0).astype(np.int16), matrix_from_sitk(image), source=path.name)
