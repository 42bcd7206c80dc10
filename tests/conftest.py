"""What every test gets: settings moved aside, the shared head CTs where they are, markers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "qtbot" in fixtures or "qapp" in fixtures:
            item.add_marker("gui")
        if "shared_ct" in fixtures:
            item.add_marker("real_ct")


@pytest.fixture(autouse=True)
def _settings_aside(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Move the home folder and settings to a fresh folder for every test."""
    home = tmp_path_factory.mktemp("home")
    for name in (
        "HOME",
        "USERPROFILE",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_CACHE_HOME",
        "APPDATA",
        "LOCALAPPDATA",
    ):
        monkeypatch.setenv(name, str(home))


def _shared() -> Path:
    return Path(os.environ.get("FACEGEN_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared_ct() -> Path:
    """Folder of real head CTs (``dicom/``, ``volumes/``, ``openkbp/``); skips where absent."""
    folder = _shared() / "ct"
    if not folder.is_dir():
        pytest.skip("the shared head CTs are not here (set FACEGEN_SHARED to their folder)")
    return folder


@pytest.fixture(scope="session")
def shared_dicom(shared_ct: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name → folder of each real DICOM series, unpacked once per session."""
    import tarfile

    out = tmp_path_factory.mktemp("dicom")
    found = {}
    for archive in sorted((shared_ct / "dicom").glob("*.tar.xz")):
        name = archive.name.removesuffix(".tar.xz")
        with tarfile.open(archive) as tar:
            tar.extractall(out / name, filter="data")
        found[name] = out / name
    return found
