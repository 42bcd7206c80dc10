"""The secret of a cohort: pseudonyms, the split and encryption follow from it and nothing else.

The key lies in a file of its own that only its owner may read, never among what is prepared.  Who
loses it can no longer tell which pseudonym is whom, nor read what was encrypted.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import unicodedata
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from facegen_inference.errors import OutputError, UserError

ENVIRONMENT = "FACEGEN_KEY"
"""Environment variable that names the key file."""
SPLIT = "split.json"
"""Name of the file beside a manifest that says who was drawn into which part, with which key."""
_BYTES = 32


@dataclass(frozen=True)
class Key:
    """A secret key and the file it lies in.

    Attributes
    ----------
    path
        The key file.
    secret
        32 random bytes.
    """

    path: Path
    secret: bytes = field(repr=False)

    def derived(self, purpose: str, text: str = "") -> bytes:
        """Return HMAC-SHA256 (32 bytes) of a text under the key, separate for each purpose."""
        message = f"{purpose}\0{text}".encode("utf-8", "surrogateescape")
        return hmac.new(self.secret, message, hashlib.sha256).digest()

    @property
    def id(self) -> str:
        """What tells this key from another without giving it away, 16 hexadecimal digits."""
        return self.derived("key id").hex()[:16]

    def person(self, name: str) -> str:
        """Return a person's pseudonym: ``p-`` and 12 hexadecimal digits.

        Spelling in capitals, spaces at the ends and ways to write the same accent do not matter.
        """
        plain = " ".join(unicodedata.normalize("NFC", name).split()).casefold()
        return f"p-{self.derived('person', plain).hex()[:12]}"

    def scan(self, person: str, place: str) -> str:
        """Return a scan's pseudonym: its person's and 8 hexadecimal digits of where it lies."""
        return f"{person}-{self.derived('scan', place).hex()[:8]}"

    @property
    def names(self) -> Path:
        """Where the list of names and pseudonyms lies: beside the key."""
        return self.path.with_name(f"{self.path.name}.names.csv")


def default_key_path() -> Path:
    """Return where a key is made when none is named."""
    return Path(platformdirs.user_config_dir("facegen", appauthor=False)) / "cohort.key"


def find_key(path: Path | None = None) -> Path:
    """Return the key file: the one named, that of `ENVIRONMENT`, or the default one."""
    stated = os.environ.get(ENVIRONMENT)
    return path or (Path(stated) if stated else default_key_path())


def read_key(path: Path | None = None) -> Key:
    """Read a key file.

    Raises
    ------
    UserError
        When it is missing, is no key, or others may read it.
    """
    place = find_key(path)
    advice = f"Give the key file with --key or in {ENVIRONMENT}."
    try:
        text = place.read_text(encoding="ascii").strip()
        secret = bytes.fromhex(text)
        mode = place.stat().st_mode
    except FileNotFoundError as error:
        raise UserError("There is no key file where one was looked for.", advice) from error
    except (OSError, ValueError) as error:
        raise UserError("The key file cannot be read or is not a key.", advice) from error
    if len(secret) != _BYTES:
        raise UserError("The key file cannot be read or is not a key.", advice)
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(
            "Others than its owner may read the key file.", "Protect it: chmod 600 FILE."
        )
    return Key(place.resolve(), secret)


def read_or_make_key(path: Path | None, out: Path) -> Key:
    """Read the key file, or make one that only its owner may read.

    None is made where people were prepared into `out` before: they have a key already.

    Parameters
    ----------
    path
        The file; that of `find_key` where None.
    out
        Folder of what is prepared: the key must not lie in it.

    Raises
    ------
    UserError
        As `read_key`, when none may be made; or the key would lie in `out`.
    OutputError
        When no key can be made there.
    """
    place = find_key(path)
    check_apart(place, out)
    if not place.exists() and not any(out.glob(f"*/{SPLIT}")):
        _make(place)
    return read_key(place)


def check_apart(place: Path, out: Path) -> None:
    """Refuse a key file (`place`) that would lie in the folder of what is prepared."""
    if place.resolve().is_relative_to(out.resolve()):
        raise UserError(
            "The key would lie among what it protects.", "Keep it elsewhere: --key FILE."
        )


def _make(place: Path) -> None:
    """Write a new key; never over an old one, and complete or not at all."""
    temporary = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was faster: its key counts
            os.link(temporary, place)
    except OSError as error:
        raise OutputError(
            f"The key file cannot be made: {error.strerror or error}.",
            "Name another place for it with --key.",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
