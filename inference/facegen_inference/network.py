"""Open a model file, check everything it claims, and run it."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from facegen_inference.card import CARD_KEY, SPEC_KEY, ModelCard, read_card
from facegen_inference.errors import ModelError, UserError
from facegen_inference.familiarity_file import FAMILIARITY_KEY, Familiarity, read_familiarity
from facegen_inference.onnx_file import Inventory, NotOnnxError, take_inventory
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.progress import Progress, silent
from facegen_inference.runtime import CPU, Device, check_runtime
from facegen_inference.template_share import TEMPLATE_KEY, TemplateShare, read_template_share

OPSETS = range(17, 24)
MAX_BYTES = 1 << 30
DEFAULT_NAME = "facegen-face.onnx"
_ADVICE = "Fetch the model file again, or use another one (facegen models lists those found)."
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Model:
    """A checked model file.

    Attributes
    ----------
    path
        Where it lies.
    sha256
        Of the file.
    spec, card
        From its metadata.
    latent_size
        Number of latent axes K; 0 when there is no ``latent`` input.
    familiarity
        What it holds of its training people's skulls, or None.
    template
        What is averaged with the network, or None.
    """

    path: Path
    sha256: str
    spec: PreprocessSpec
    card: ModelCard
    latent_size: int
    familiarity: Familiarity | None
    template: TemplateShare | None
    _data: bytes = field(repr=False)
    _sessions: dict[str, Any] = field(default_factory=dict, repr=False)

    def run(
        self,
        skull: NDArray[np.float32],
        latent: NDArray[np.float32] | None = None,
        device: Device = CPU,
        progress: Progress = silent,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Predict the skin over one skull.

        Parameters
        ----------
        skull
            (C, Z, Y, X) float32, what `preprocess` returned for this model's spec.
        latent
            (K,) float32; None or zeros for the most likely face.
        device
            From `choose_device`.
        progress
            Asked again and again while the network runs; when it raises, the run is stopped.

        Returns
        -------
        Signed distance to the skin and its spread (one SD), both (Z, Y, X) float32 mm.
        """
        import onnxruntime

        feed = {"skull": np.ascontiguousarray(skull[None], dtype=np.float32)}
        if self.latent_size:
            z = np.zeros(self.latent_size) if latent is None else latent
            feed["latent"] = np.asarray(z, dtype=np.float32).reshape(1, self.latent_size)
        session = self._session(device)
        options = onnxruntime.RunOptions()

        with ThreadPoolExecutor(1, thread_name_prefix="network") as pool:
            job = pool.submit(session.run, ["distance_mm", "spread_mm"], feed, options)
            while True:
                try:
                    distance, spread = job.result(timeout=_POLL_SECONDS)
                    break
                except NotYet:
                    try:
                        progress(0.5, "network")
                    except BaseException:
                        options.terminate = True
                        raise
        if not (np.isfinite(distance).all() and np.isfinite(spread).all()):
            raise ModelError("The model gave numbers that are not finite.", _ADVICE)
        return distance[0, 0], spread[0, 0]

    def _session(self, device: Device) -> Any:
        if device.provider not in self._sessions:
            self._sessions[device.provider] = _session(self._data, device)
        return self._sessions[device.provider]


def open_model(path: Path) -> Model:
    """Open a model file and check that this program can use it.

    Raises
    ------
    ModelError
        When it cannot be read, is cut short, is no FaceGen model, wants a newer program, or its
        inputs and outputs are not those of its card.
    """
    check_runtime()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path.name} is too large for a FaceGen model.", _ADVICE)
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read.", _ADVICE, reason=error) from error
    try:
        inventory = take_inventory(data)
    except NotOnnxError as error:
        raise ModelError(
            f"{path.name} is damaged or no ONNX model.", _ADVICE, reason=error
        ) from error
    _check_inventory(path.name, inventory)
    session = _session(data, CPU, path.name)
    texts = session.get_modelmeta().custom_metadata_map
    if SPEC_KEY not in texts or CARD_KEY not in texts:
        raise ModelError(f"{path.name} is an ONNX model, but not one of FaceGen's.", _ADVICE)
    spec = PreprocessSpec.from_json(texts[SPEC_KEY])
    card = read_card(texts[CARD_KEY])
    latent = _check_tensors(path.name, session, spec, card)
    held = texts.get(FAMILIARITY_KEY)
    familiarity = None if held is None else read_familiarity(held)
    held = texts.get(TEMPLATE_KEY)
    template = None if held is None else read_template_share(held, spec)
    digest = hashlib.sha256(data).hexdigest()
    return Model(
        path, digest, spec, card, latent, familiarity, template, data, {CPU.provider: session}
    )


def _check_inventory(name: str, inventory: Inventory) -> None:
    if inventory.external:
        raise ModelError(f"{name} keeps its weights in another file.", _ADVICE)
    if inventory.functions or inventory.domains - {""} or set(inventory.opsets) - {""}:
        raise ModelError(f"{name} uses operators outside the ONNX standard.", _ADVICE)
    if inventory.opsets.get("") not in OPSETS:
        raise ModelError(
            f"{name} uses ONNX operator set {inventory.opsets.get('')}, "
            f"not one of {OPSETS.start} to {OPSETS.stop - 1}.",
            _ADVICE,
        )


def _session(data: bytes, device: Device, name: str = "The model file") -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    providers: list[Any] = [CPU.provider]
    if device.provider != CPU.provider:
        providers.insert(0, (device.provider, {"use_tf32": "0"}))  # fp32, as the label says
    try:
        session = onnxruntime.InferenceSession(data, options, providers=providers)
    except Exception as error:  # the kinds of ONNX Runtime share no base class
        raise ModelError(
            f"{name} cannot be loaded by ONNX Runtime.", _ADVICE, reason=error
        ) from error
    if session.get_providers()[0] != device.provider:
        raise UserError(
            f"{device.label} could not be started, though ONNX Runtime offers it.",
            "Check the NVIDIA driver and CUDA libraries, or choose --device cpu.",
        )
    return session


def _check_tensors(name: str, session: Any, spec: PreprocessSpec, card: ModelCard) -> int:
    """Check names, types and shapes; return the number of latent axes."""
    grid = list(spec.shape)
    latent = len(card.latent)
    inputs = {"skull": [1, len(spec.channels), *grid]}
    if latent:
        inputs["latent"] = [1, latent]
    outputs = {"distance_mm": [1, 1, *grid], "spread_mm": [1, 1, *grid]}
    for wanted, given in ((inputs, session.get_inputs()), (outputs, session.get_outputs())):
        found = {tensor.name: list(tensor.shape) for tensor in given}
        types = {tensor.type for tensor in given}
        if found != wanted or types != {"tensor(float)"}:
            raise ModelError(
                f"{name} does not have the inputs and outputs that its card promises.",
                _ADVICE,
                wanted=wanted,
                found=found,
                types=sorted(types),
            )
    return latent


def model_folders() -> tuple[Path, Path]:
    """Return where models are looked for: what ships, then the user's own."""
    shipped = Path(str(files("facegen_resources") / "models"))
    return shipped, platformdirs.user_data_path("facegen", appauthor=False) / "models"


def find_models() -> list[Path]:
    """Return the model files found, those that ship first; not opened, not checked."""
    return [path for folder in model_folders() for path in sorted(folder.glob("*.onnx"))]


def default_model() -> Path:
    """Return the model that is used when none is named: the user's own of that name goes first.

    Raises
    ------
    ModelError
        When there is none.
    """
    found = find_models()
    for path in reversed(found):
        if path.name == DEFAULT_NAME:
            return path
    if not found:
        raise ModelError(
            "No model file was found.",
            f"Put one into {model_folders()[1]}, name one with --model, or choose another method.",
        )
    return found[0]
