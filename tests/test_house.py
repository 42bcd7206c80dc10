"""The house's own rules: layout, directions of import, sizes, and nothing left lying about."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "app": "facegen_app",
    "inference": "facegen_inference",
    "training": "facegen_training",
    "resources": "facegen_resources",
}
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """Every file that git would store."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    done = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [ROOT / name for name in done.stdout.decode().split("\0") if name]


def lines(path: Path) -> list[str]:
    """Lines of a text file; none of a binary or a deleted one."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
        return []


def hits(tracked: list[Path], pattern: str) -> list[str]:
    """Where a pattern stands in tracked text, as ``file:line: text``; not in this file."""
    found = re.compile(pattern)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked
        if path != Path(__file__)
        for number, line in enumerate(lines(path), 1)
        if found.search(line)
    ]


def test_no_top_level_folder_is_a_package() -> None:
    """One would hide an installed library of the same name, ``packaging`` first of all."""
    assert {f.name for f in ROOT.iterdir()} >= set(FOLDERS)
    assert not list(ROOT.glob("*/__init__.py"))


def test_each_room_holds_its_one_typed_package() -> None:
    for folder, package in FOLDERS.items():
        packages = [p.parent.name for p in (ROOT / folder).glob("*/__init__.py")]
        assert packages == [package]
        assert (ROOT / folder / package / "py.typed").is_file()


def test_resources_hold_no_code() -> None:
    code = [p.name for p in (ROOT / "resources").rglob("*.py")]
    assert code == ["__init__.py"]
    text = (ROOT / "resources/facegen_resources/__init__.py").read_text(encoding="utf-8")
    assert not re.search(r"^(import|from|def|class) ", text, re.MULTILINE)


def test_no_placeholder_is_left(tracked: list[Path]) -> None:
    assert not hits(
        tracked, r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError|(?i:lorem ipsum)"
    )


def test_nothing_of_one_machine_is_stored(tracked: list[Path]) -> None:
    """No absolute folder of a developer's machine, no package index, in any tracked text."""
    # /home/anna is no one's: tests use it to show that reports hide such paths.
    places = r"(?<![\w.~>-])/(?!home/anna/)(work|root|opt|home/\w+|Users/\w+|tmp)/\w"
    hosts = r"pythonhosted\.org|\bpypi\.org/simple|download\.pytorch\.org"
    ours = [path for path in tracked if path.suffix != ".def"]  # folders inside a container
    assert not hits(ours, places)
    assert not hits(tracked, hosts)


def test_no_scan_or_mesh_is_stored(tracked: list[Path]) -> None:
    """Tests make their data; no one's head is in the repository."""
    kinds = (".dcm", ".nii", ".gz", ".nrrd", ".mha", ".stl", ".ply", ".obj", ".xz", ".zip", ".tar")
    assert not [str(path) for path in tracked if path.suffix.lower() in kinds]


def test_what_ships_is_small() -> None:
    files = [p for p in (ROOT / "resources").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    sizes = {path.name: path.stat().st_size for path in files}
    assert max(sizes.values()) <= 40 * MEGABYTE, sizes
    assert sum(sizes.values()) <= 80 * MEGABYTE, sizes


def import_lint(folder: Path, first: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the contracts in `folder`; packages in `first` win over installed."""
    program = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("import-linter is not installed")
    env = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    if first is not None:
        env["PYTHONPATH"] = os.pathsep.join(str(first / name) for name in FOLDERS)
    command = [program, "--no-cache"]
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, encoding="utf-8", check=False
    )


def test_import_contracts_hold() -> None:
    done = import_lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("inference/facegen_inference/volume.py", "import torch", "inference needs no Qt"),
        ("inference/facegen_inference/volume.py", "import facegen_app", "app and training"),
        ("training/facegen_training/fitting/config.py", "import PySide6", "training never sees Qt"),
        ("app/facegen_app/errors.py", "import facegen_training", "app and training"),
        ("app/facegen_app/model/__init__.py", "import facegen_app.views", "application's state"),
        ("app/facegen_app/views/__init__.py", "import vtkmodules", "rendering only"),
    ],
)
def test_a_planted_import_is_caught(tmp_path: Path, module: str, line: str, broken: str) -> None:
    """Each contract can fail: a copy of the house with one wrong import breaks it."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder / package).rglob("*.py"):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    with open(tmp_path / module, "a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    done = import_lint(tmp_path, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(rf"{broken}.* BROKEN", done.stdout), done.stdout


BLOCKED = ("torch", "monai", "lightning", "PySide6", "onnx", "onnxscript", "onnxruntime",
           "matplotlib", "pyvista", "blosc2", "safetensors", "tensorboard")  # fmt: skip


def test_the_core_and_the_command_need_no_extra() -> None:
    """With every extra hidden, all of inference and the command line can still be imported."""
    code = (
        "import importlib, pkgutil, sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {BLOCKED!r}:\n"
        "            raise ModuleNotFoundError(f'{name} is hidden', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "import facegen_inference, facegen_app.cli\n"
        "walk = pkgutil.walk_packages(facegen_inference.__path__, 'facegen_inference.')\n"
        "names = [m.name for m in walk]\n"
        "for name in names: importlib.import_module(name)\n"
        "print(len(names))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def test_the_command_line_starts_without_qt_or_vtk() -> None:
    """Starting the command must stay quick: nothing heavy comes in before a command needs it."""
    code = (
        "import sys, facegen_app.cli\n"
        "heavy = {'PySide6', 'vtkmodules', 'onnxruntime', 'torch', 'reportlab'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_links_in_the_documents_lead_somewhere(name: str) -> None:
    path = ROOT / name
    links = re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert local
    assert not [link for link in local if not (path.parent / link).exists()]


def test_the_readme_names_the_two_commands_and_the_limits() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "python3 run.py demo" in text
    assert "python3 run.py test" in text
    assert "never an identification" in " ".join(text.split())


def test_the_changelog_knows_this_version() -> None:
    import tomllib

    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0].startswith("Unreleased")
    assert any(heading.startswith(version) for heading in headings)


def test_the_model_file_does_not_say_where_it_was_made() -> None:
    """The exporter notes source files and lines in the graph; they are taken out."""
    models = list((ROOT / "resources/facegen_resources/models").glob("*.onnx"))
    assert models
    for path in models:
        data = path.read_bytes()
        assert b"site-packages" not in data
        assert b"network.py" not in data
