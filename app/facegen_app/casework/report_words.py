"""The report's sentences: from values to plain words, for readers who are no programmers."""

from __future__ import annotations

from collections import Counter
from typing import Any

Data = dict[str, Any]

_METHODS = {
    "neural": (
        "A neural network was shown the bone alone, as the distance of each point in the head to "
        "the bone surface, in the Frankfurt frame. It answers with the distance of each point to "
        "the skin, and how far that may be wrong. The skin surface is where this distance is zero, "
        "brought back into the coordinates of the scan. It learned the relation of bone and skin "
        "from scans of people in whom both are visible; this person's skin, where the scan shows "
        "any, was not used."
    ),
    "template": (
        "The mean skull of many people was laid densely on the bone by a smooth deformation, which "
        "carried their mean face along. How deep the skin lies over the bone follows from the "
        "shape of the skull by linear regression on the same people. Where bone is missing, the "
        "rest of the skull says what is likely there."
    ),
    "tissue-depth": (
        "The mean head of many people was carried onto the bone by the craniometric landmarks; "
        "nose, eyes and mouth follow published rules of proportion where their bone was found. "
        "Published mean soft-tissue depths were then set as pegs at the landmarks, as an examiner "
        "does by hand, and the skin was drawn towards their ends: fully where the depth hardly "
        "differs between people, less where it differs much. Between the pegs the soft tissue is "
        "that of the mean head."
    ),
    "mean-face": (
        "The average face of many people was placed in the skull's Frankfurt frame, its shape "
        "unchanged but where bone would have stood out of it. It shows what is common to all and "
        "hardly anything of the person; it is a yardstick for the other methods."
    ),
}
_FRAMES = {
    "landmarks": "from the landmarks on both porions and the orbits",
    "registration": "by fitting the bone to the mean skull, for want of enough landmarks",
    "given": "from landmarks placed by the examiner",
}
_VALUES = {
    "spread_mm": "Spread, one standard deviation along the normal, mm",
    "band50_mm": "Half-width of the 50 % band, mm",
    "band90_mm": "Half-width of the 90 % band, mm",
    "thickness_mm": "Soft-tissue thickness over bone, mm",
}


def mm(value: float | None) -> str:
    """Return a length with its unit."""
    return "unknown" if value is None else f"{value:.1f} mm"


def size(count: int) -> str:
    """Return a file's size."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def profile(data: Data) -> str:
    """Return what the examiner said of the person."""
    age = "age unknown" if data["age"] is None else f"{data['age']:g} years"
    return f"sex {data['sex']}, {age}, build {data['build']}"


def result(data: Data) -> str:
    """Return the result in two sentences."""
    values = data["face"]["values"]
    made = f"The face was predicted by the method “{data['method']}” on {data['device']}"
    if data["model"]:
        made += f" with the model {data['model'].get('name')} {data['model'].get('version')}"
    sentences = [f"{made}."]
    if "band90_mm" in values:
        band = mm(values["band90_mm"]["median"])
        sentences.append(
            f"At half of its points the true skin is expected within {band} of the "
            "face shown, in front or behind, nine times out of ten; this differs over the "
            "face (section on certainty)."
        )
    count = len(data["variants"])
    if count:
        sentences.append(f"{count} plausible alternatives go with it.")
    return " ".join(sentences)


def geometry(data: Data) -> list[tuple[str, str]]:
    """Return the scan's geometry as labels and values."""
    row = data["geometry"]
    rows = [("Files", f"{len(data['inputs']['files'])} (hashes: section Records)")]
    if row["kind"] == "mesh":
        mesh = data["skull"]
        rows.append(("Kind", f"surface mesh of a skull, {mesh['triangles']:,} triangles as used"))
    else:
        shape, spacing = row["shape_kji"], row["spacing_kji_mm"]
        rows += [
            ("Slices × rows × columns", " × ".join(str(n) for n in shape)),
            ("Voxel size", " × ".join(f"{s:.3g}" for s in spacing) + " mm"),
            (
                "Field of view",
                " × ".join(f"{n * s:.0f}" for n, s in zip(shape, spacing, strict=True)) + " mm",
            ),
            ("Scanned part of it", f"{100 * row['observed_fraction']:.0f} %"),
        ]
        if data["skull"]["bone_level_hu"] is not None:
            rows.append(("Bone taken from", f"{data['skull']['bone_level_hu']:.0f} HU"))
    rows.append(("Coordinates", "DICOM patient coordinates (LPS), millimetres"))
    return rows


def landmark(point: Data) -> tuple[str, str, str, str]:
    """Return a landmark as code, source, confidence and coordinates."""
    where = ", ".join(f"{v:.1f}" for v in point["position"])
    return point["code"], point["provenance"], f"{point['confidence']:.2f}", where


def provenance(points: list[Data]) -> str:
    """Return how many landmarks come from where."""
    counts = Counter(point["provenance"] for point in points)
    meaning = {
        "automatic": "found on the bone by the program",
        "manual": "placed by the examiner",
        "mirrored": "mirrored from the other side",
        "inferred": "inferred where the bone is missing",
    }
    said = [f"{count} {meaning.get(kind, kind)}" for kind, count in counts.items()]
    return f"{len(points)} craniometric points: {', '.join(said)}." if said else "No landmarks."


def frame(data: Data) -> str:
    """Return how the Frankfurt frame was found."""
    return (
        f"The Frankfurt frame was set {_FRAMES[data['method']]} "
        f"(residual {mm(data['residual_mm'])}, confidence {data['confidence'] or 0:.2f}). "
        "It decides which way the views look; left and right follow from it."
    )


def method(name: str) -> str:
    """Return what a method does."""
    return _METHODS[name]


def card(data: Data) -> list[tuple[str, str]]:
    """Return the model card's facts as labels and values."""
    rows = [("Model", f"{data.get('name')} {data.get('version')}")]
    if "predicts" in data:
        rows.append(("Predicts", str(data["predicts"])))
    population = data.get("training_population")
    if population:
        counts = ", ".join(f"{name} {count}" for name, count in population["counts"].items())
        said = f"{population['people']} people. {population['description']}"
        rows.append(("Trained on", f"{said} ({counts})" if counts else said))
    calibration = data.get("calibration")
    if calibration:
        said = f"bands calibrated on {calibration['people']} people. {calibration['note']}"
        rows.append(("Spread", said))
    if "intended_use" in data:
        rows.append(("Intended use", str(data["intended_use"])))
    for source in data.get("sources", []):
        rows.append(("Data", f"{source['name']} ({source['licence']}). {source['attribution']}"))
    if "licence" in data:
        rows.append(("Licence of the model", str(data["licence"])))
    if "sha256" in data:
        rows.append(("SHA-256 of the file", str(data["sha256"])))
    if "manifest_sha256" in data:
        rows.append(("SHA-256 of the training list", str(data["manifest_sha256"])))
    return rows


def error_row(row: Data) -> list[str]:
    """Return one method's held-out errors."""
    return [
        str(row["method"]),
        str(row["people"]),
        *(f"{row[key]:.2f}" for key in ("mean_mm", "median_mm", "p95_mm")),
        *(f"{row[key]:.0f} %" for key in ("below_2mm_percent", "below_2_5mm_percent")),
    ]


def spread(values: Data) -> list[str]:
    """Return what the spread means."""
    sentences = [
        "At every vertex face.ply holds how far the true skin may lie in front of or behind the "
        "predicted one, along the surface normal: spread_mm is one standard deviation; half of "
        "the true skin is expected within ± band50_mm and nine tenths within ± band90_mm."
    ]
    if "spread_mm" in values:
        row = values["spread_mm"]
        if row["p95"] - row["p5"] < 0.1:
            sentences.append(f"Here one standard deviation is {mm(row['median'])} everywhere.")
        else:
            sentences.append(
                f"Here one standard deviation is {mm(row['median'])} at the median point; it stays "
                f"below {mm(row['p5'])} on the surest twentieth of the face and exceeds "
                f"{mm(row['p95'])} on the least sure twentieth."
            )
    else:
        sentences.append("This method states no spread of its own.")
    return sentences


def value_rows(values: Data) -> list[list[str]]:
    """Return the vertex values as rows of a table."""
    return [
        [_VALUES.get(name, name), *(f"{row[key]:.1f}" for key in ("p5", "median", "p95"))]
        for name, row in values.items()
    ]
