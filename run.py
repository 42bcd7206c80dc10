"""The house's two commands, with nothing but Python's own library.

``python3 run.py demo``
    Make a virtual environment, install what is missing, and run FaceGen on a synthetic head:
    in the window where there is a screen, else into a folder.
``python3 run.py test``
    The same for everything the checks need, then ruff, mypy, import-linter and pytest.

The virtual environment is ``.venv`` beside this file, or the folder named by ``FACEGEN_VENV``.
Exit status: 0 done; 2 something for you to do, said in one sentence; else the command's own.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - started by hand, perhaps with an old Python
    sys.exit(
        "FaceGen needs Python 3.11 or newer; this is Python "
        + ".".join(str(part) for part in sys.version_info[:3])
        + ". Start run.py with a newer one, for example: python3.12 run.py "
        + " ".join(sys.argv[1:])
    )

import argparse
import ctypes
import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import ssl
import subprocess
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LIMIT_BYTES = 1_000_000_000
OLDEST_PIP = (24, 0)  # older ones fetch whole wheels in a dry run

# What a minimal Debian lacks: shared library or program -> package.
GL_LIBRARIES = {"libGL.so.1": "libgl1", "libEGL.so.1": "libegl1"}
WINDOW_LIBRARIES = {
    "libglib-2.0.so.0": "libglib2.0-0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-shape.so.0": "libxcb-shape0",
}
TEST_PROGRAMS = {"Xvfb": "xvfb", "xauth": "xauth"}
# Wanted, never demanded: without them the tests on a real Slurm are skipped.
SLURM_PROGRAMS = {"sbatch": "slurm-wlm", "slurmctld": "slurm-wlm", "munged": "munge"}
POLICY = Path("/usr/sbin/policy-rc.d")  # asked by Debian before it starts a service


class AdviceError(Exception):
    """Something the person at the keyboard can act on; shown as it is, exit status 2."""


def say(sentence: str) -> None:
    """Print one line at once, so that it stands before what a child process prints."""
    print(sentence, flush=True)


# --- the system ---------------------------------------------------------------------------


def has_screen() -> bool:
    """Tell whether a window can be shown."""
    if sys.platform in ("win32", "darwin") or os.environ.get("WAYLAND_DISPLAY"):
        return True
    return bool(os.environ.get("DISPLAY")) and display_answers()


def display_answers() -> bool:
    """Ask the X server that ``DISPLAY`` names; one left over from a closed session is silent.

    True where it cannot be asked, because the library for it is not installed yet.
    """
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        return True
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(None, None))
    error = xcb.xcb_connection_has_error(connection)
    xcb.xcb_disconnect(connection)
    return not error


def loads(library: str) -> bool:
    """Tell whether the system has a shared library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing_packages(libraries: dict[str, str], programs: dict[str, str]) -> list[str]:
    """Return the Debian packages of those libraries and programs that are not there."""
    missing = [package for name, package in libraries.items() if not loads(name)]
    return missing + [package for name, package in programs.items() if not shutil.which(name)]


def apt_line(packages: Sequence[str]) -> list[str]:
    """Return the command that installs Debian packages."""
    return ["apt-get", "install", "-y", "--no-install-recommends", *packages]


def install_packages(packages: Sequence[str]) -> None:
    """Install Debian packages as root, or stop with the line to type.

    Raises
    ------
    AdviceError
        When not root, not on Debian or Ubuntu, or when apt-get fails.
    """
    if not packages:
        return
    line = shlex.join(apt_line(packages))
    if not shutil.which("apt-get"):
        raise AdviceError(
            "Some system libraries are missing. Install with your system's package manager what "
            "Debian calls: " + " ".join(packages)
        )
    if os.geteuid() != 0:
        raise AdviceError(
            f"Some system libraries are missing. Type this, then start again:\n  sudo {line}"
        )
    say("Installing system libraries: " + " ".join(packages))
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-q"], apt_line(packages)):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AdviceError(
                f"The system libraries could not be installed ({last_line(done.stderr)}). "
                f"Type this, then start again:\n  {line}"
            )


@contextmanager
def services_held(policy: Path) -> Iterator[None]:
    """Keep Debian from starting what it installs, unless the machine has a policy already."""
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def install_slurm() -> None:
    """Install Slurm for the tests, as root on Debian or Ubuntu; elsewhere they are skipped."""
    missing = sorted(set(missing_packages({}, SLURM_PROGRAMS)))
    if not missing or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    with services_held(POLICY):
        try:
            install_packages(missing)
        except AdviceError as advice:
            say(f"The tests on a real Slurm will be skipped. {advice}")


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


# --- the virtual environment --------------------------------------------------------------


@dataclass(frozen=True)
class Environment:
    """The virtual environment in `folder`."""

    folder: Path

    def program(self, name: str) -> Path:
        """Return the path of a program installed in it."""
        if sys.platform == "win32":
            return self.folder / "Scripts" / f"{name}.exe"
        return self.folder / "bin" / name

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.program("python")

    @property
    def stamp(self) -> Path:
        """The file that says what was installed, and from which pyproject.toml."""
        return self.folder / "facegen-installed.json"

    def ask(self, code: str) -> str | None:
        """Return what its Python prints for `code`; None when it does not work."""
        command = [str(self.python), "-c", code]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def make(self) -> None:
        """Create it, or mend one whose creation was interrupted.

        Raises
        ------
        AdviceError
            When the folder holds something else, or Python's venv module is not complete.
        """
        if self.ask("import sys, pip, ssl; assert sys.version_info >= (3, 11)") is not None:
            return
        if self.folder.exists() and any(self.folder.iterdir()):
            if not (self.folder / "pyvenv.cfg").is_file():
                raise AdviceError(
                    f"{self.folder} is not a virtual environment. Name another folder in "
                    "FACEGEN_VENV, or move this one away."
                )
            say(f"The virtual environment in {self.folder} does not work; making it anew.")
        if importlib.util.find_spec("ensurepip") is None:
            install_packages([f"python3.{sys.version_info[1]}-venv"])
        say(f"Making a virtual environment in {self.folder}")
        command = [sys.executable, "-m", "venv", "--clear", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AdviceError(
                f"No virtual environment could be made in {self.folder}: "
                + last_line(done.stderr or done.stdout)
            )

    def pip(self, *arguments: str) -> None:
        """Run pip quietly.

        Raises
        ------
        AdviceError
            When it fails, with the reason in one sentence.
        """
        command = [str(self.python), "-m", "pip", "--no-input", "-q", *arguments]
        env = {"PIP_RETRIES": "2", **os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AdviceError(pip_failure(done.stderr))

    def distributions(self) -> set[str]:
        """Return the names of the installed distributions, lower case, with hyphens."""
        code = (
            "from importlib.metadata import distributions as d; "
            "print(*{x.name.lower().replace('_', '-') for x in d() if x.name})"
        )
        return set((self.ask(code) or "").split())


OFFLINE = (
    "NewConnectionError",
    "NameResolutionError",
    "ProxyError",
    "ConnectTimeout",
    "Max retries exceeded",
    "connection broken",
    "Failed to establish",
    "Name or service not known",
)


def pip_failure(stderr: str) -> str:
    """Say in one sentence why pip failed."""
    if any(sign in stderr for sign in OFFLINE):
        return (
            "What is missing could not be fetched, because the package index cannot be reached. "
            "Connect this machine to the internet (or set pip's proxy or index) and start again."
        )
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR:")]
    reason = errors[-1].removeprefix("ERROR:").strip() if errors else last_line(stderr)
    return f"pip could not install what is missing: {reason}"


def fingerprint(environment: Environment) -> str:
    """Return a hash of all that an installation depends on."""
    parts = [(ROOT / "pyproject.toml").read_bytes(), str(ROOT).encode(), sys.version.encode()]
    parts.append(str(environment.folder).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def installed_extras(environment: Environment) -> set[str]:
    """Return the extras that the environment has for today's pyproject.toml."""
    try:
        stamp = json.loads(environment.stamp.read_text(encoding="utf-8"))
        return set(stamp["extras"]) if stamp["hash"] == fingerprint(environment) else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def runtime_extra(environment: Environment) -> str:
    """Return which ONNX Runtime the environment is for, ``cpu`` or ``gpu``.

    Raises
    ------
    AdviceError
        When both are installed: they own the same files.
    """
    runtimes = environment.distributions() & {"onnxruntime", "onnxruntime-gpu"}
    if len(runtimes) == 2:
        pip = shlex.join([str(environment.python), "-m", "pip"])
        raise AdviceError(
            "onnxruntime and onnxruntime-gpu are both installed, and they overwrite each other's "
            "files. Keep one (here the CPU's); type this, then start again:\n"
            f"  {pip} uninstall -y onnxruntime onnxruntime-gpu && {pip} install onnxruntime"
        )
    return "gpu" if runtimes == {"onnxruntime-gpu"} else "cpu"


# --- how much would be fetched ------------------------------------------------------------


def certificates() -> ssl.SSLContext:
    """Return a context that also trusts the certificates pip was told to trust."""
    context = ssl.create_default_context()
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE"):
        path = os.environ.get(name)
        if path and Path(path).is_file():
            context.load_verify_locations(path)
    return context


def size_of(url: str) -> int | None:
    """Return the size of a file on disk or on a server, in bytes; None where nobody says."""
    parts = urllib.parse.urlsplit(url)
    try:
        if parts.scheme == "file":
            return Path(urllib.request.url2pathname(parts.path)).stat().st_size
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=20, context=certificates()) as answer:
            return int(answer.headers["Content-Length"])
    except (OSError, ValueError, TypeError):
        return None


def fetched(report: dict[str, object]) -> tuple[int, list[str]]:
    """Return what pip's installation report says would be fetched.

    Returns
    -------
    The sum of the known sizes in bytes, and the CUDA packages by name.
    """
    items = report["install"]
    assert isinstance(items, list)
    remote = [item for item in items if "dir_info" not in item["download_info"]]
    with ThreadPoolExecutor(16) as pool:
        sizes = list(pool.map(size_of, (item["download_info"]["url"] for item in remote)))
    names = [str(item["metadata"]["name"]).lower().replace("_", "-") for item in remote]
    cuda = [name for name in names if name.startswith(("nvidia-", "cuda-"))]
    total = sum(size or 0 for size in sizes)
    unknown_cuda = any(s is None and n in cuda for s, n in zip(sizes, names, strict=True))
    return (max(total, LIMIT_BYTES + 1) if unknown_cuda else total), cuda


def check_size(environment: Environment, target: str) -> int:
    """Ask pip what it would fetch for `target`; return the bytes.

    Raises
    ------
    AdviceError
        When it is more than `LIMIT_BYTES`, with the two ways on.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        environment.pip("install", "--dry-run", "--report", str(path), "-e", target)
        total, cuda = fetched(json.loads(path.read_text(encoding="utf-8")))
    if total <= LIMIT_BYTES:
        return total
    why = " (a CUDA build of torch)" if cuda else ""
    raise AdviceError(
        f"The tests would fetch {total / 1e9:.1f} GB{why}. Choose one of:\n"
        '  python3 run.py test --torch "ARGS FOR PIP"   install torch first, with these words\n'
        "                                               after 'pip install', for example\n"
        '                                               "torch --index-url ADDRESS" with the CPU\n'
        "                                               address from PyTorch's install page\n"
        "  python3 run.py test --no-training            leave torch out; its tests are skipped"
    )


def install(environment: Environment, extras: set[str], limit: bool = False) -> None:
    """Install FaceGen with its extras, unless that is done already.

    Raises
    ------
    AdviceError
        When pip fails, or (with `limit`) when too much would be fetched.
    """
    extras = extras | {runtime_extra(environment)}
    have = installed_extras(environment)
    if extras <= have:
        return
    version = environment.ask("import pip; print(pip.__version__)") or "0"
    if tuple(int(n) for n in version.split(".")[:2] if n.isdigit()) < OLDEST_PIP:
        environment.pip("install", "--upgrade", "pip")
    target = f"{ROOT}[{','.join(sorted(extras | have))}]"
    if limit:
        say("Asking pip how much would be fetched")
        check_size(environment, target)
    say("Installing what is missing (a few minutes the first time)")
    environment.pip("install", "-e", target)
    runtime_extra(environment)
    stamp = {"hash": fingerprint(environment), "extras": sorted(extras | have)}
    environment.stamp.write_text(json.dumps(stamp), encoding="utf-8")


# --- the two commands ---------------------------------------------------------------------


@contextmanager
def interruptible(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let a child that also received Ctrl-C tidy up before we leave."""
    try:
        yield
    except KeyboardInterrupt:
        try:
            child.wait(10)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            child.kill()
        raise


def call(*command: str | Path, env: dict[str, str] | None = None) -> int:
    """Run a command in the repository, its output shown; return its exit status."""
    full = {**os.environ, "PYTHONUTF8": "1", **(env or {})}
    words = [str(word) for word in command]
    with subprocess.Popen(words, cwd=ROOT, env=full) as child, interruptible(child):
        return child.wait()


def fresh_folder() -> Path:
    """Return a folder for results that does not exist yet."""
    folder, n = ROOT / "out" / "demo", 1
    while folder.exists():
        n += 1
        folder = ROOT / "out" / f"demo-{n}"
    return folder


def demo(options: argparse.Namespace, environment: Environment) -> int:
    """Run the whole line on the synthetic head."""
    headless = options.headless or not has_screen()
    if headless and not options.headless:
        say("There is no screen here, so the demo writes its results into a folder.")
    if sys.platform == "linux":
        libraries = GL_LIBRARIES if headless else GL_LIBRARIES | WINDOW_LIBRARIES
        install_packages(missing_packages(libraries, {}))
    environment.make()
    install(environment, {"app"})
    words: list[str | Path] = [environment.program("facegen"), "demo"]
    if headless:
        out = Path(options.out).absolute() if options.out else fresh_folder()
        words += ["--headless", "--out", out]
    elif options.out:
        words += ["--out", Path(options.out).absolute()]
    status = call(*words, *options.rest)
    if headless and status == 0:
        say(f"The results are in {out}")
    return status


def checks(environment: Environment, training: bool) -> dict[str, list[str | Path]]:
    """Return name -> command of every check that comes before pytest."""
    packages = ["facegen_app", "facegen_inference"] + ["facegen_training"] * training
    typed = [word for package in packages for word in ("-p", package)]
    return {
        "ruff check": [environment.program("ruff"), "check", "."],
        "ruff format": [environment.program("ruff"), "format", "--check", "."],
        "mypy": [environment.program("mypy"), *typed],
        "mypy run.py": [environment.program("mypy"), "run.py"],
        "import contracts": [environment.program("lint-imports")],
    }


def test(options: argparse.Namespace, environment: Environment) -> int:
    """Run every check; the last line printed is pytest's when all is well."""
    if sys.platform == "linux":
        libraries = GL_LIBRARIES | WINDOW_LIBRARIES
        install_packages(missing_packages(libraries, TEST_PROGRAMS))
        if not options.no_training:
            install_slurm()
    environment.make()
    if options.torch:
        say("Installing torch as asked")
        environment.pip("install", *shlex.split(options.torch))
    training = not options.no_training
    install(environment, {"app", "dev"} | ({"training"} if training else set()), limit=True)
    failed = []
    for name, command in checks(environment, training).items():
        say(f"--- {name}")
        if call(*command):
            failed.append(name)
    say("--- pytest")
    words: list[str | Path] = [environment.python, "-m", "pytest", *options.rest]
    env = {}
    if not training:
        words += ["-p", "without_training"]
        env["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(ROOT / "tests"), os.environ.get("PYTHONPATH")])
        )
    status = call(*words, env=env)
    if failed:
        say("These checks failed: " + ", ".join(failed))
    return status or int(bool(failed))


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line; what stands after ``--`` is kept in ``rest``."""
    parser = argparse.ArgumentParser(prog="run.py", description="FaceGen's two commands.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("demo", help="run FaceGen on a synthetic head")
    one.add_argument("--headless", action="store_true", help="no window; write into a folder")
    one.add_argument("--out", metavar="DIR", help="the folder for the results")
    two = commands.add_parser("test", help="run every check (words after -- go to pytest)")
    two.add_argument("--torch", metavar="ARGS", help="how pip is to install torch, in one word")
    two.add_argument("--no-training", action="store_true", help="leave torch out")
    words, rest = list(words), []
    if "--" in words:
        cut = words.index("--")
        words, rest = words[:cut], words[cut + 1 :]
    options = parser.parse_args(words)
    if options.command == "test" and options.torch and options.no_training:
        parser.error("--torch and --no-training exclude each other")
    options.rest = rest
    return options


def main(words: Sequence[str]) -> int:
    """Run one of the two commands; return the exit status."""
    options = parse(words)
    place = os.environ.get("FACEGEN_VENV")
    environment = Environment(Path(place).absolute() if place else ROOT / ".venv")
    try:
        return (demo if options.command == "demo" else test)(options, environment)
    except AdviceError as advice:
        print(advice, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
