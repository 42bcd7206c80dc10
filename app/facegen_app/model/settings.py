"""What the user prefers, kept between sessions in one small JSON file.  No Qt."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from facegen_app.model.event import Event
from facegen_inference.errors import OutputError, UserError

VERSION = 1
APPEARANCES = ("system", "light", "dark")


@dataclass(frozen=True)
class Settings:
    """The preferences.

    Attributes
    ----------
    appearance
        One of `APPEARANCES`.
    """

    appearance: str = "system"


class SettingsModel:
    """The preferences of this user, written to their file at each change.

    Parameters
    ----------
    path
        The file; it need not be there yet.

    Attributes
    ----------
    changed
        Told after a preference changed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values = Settings()
        self.changed: Event[()] = Event()

    @property
    def values(self) -> Settings:
        """The preferences as they stand."""
        return self._values

    def read(self) -> None:
        """Take over what the file says; what is not in it stays as it is.

        Raises
        ------
        UserError
            When the file cannot be read or is not such a file; nothing is taken over.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            raise self._unusable("cannot be read", error) from error
        self._values = self._parsed(text)

    def set_appearance(self, appearance: str) -> None:
        """Follow the system or wear one theme (`APPEARANCES`), and keep it.

        Raises
        ------
        OutputError
            When the file cannot be written; the choice holds until the window is closed.
        """
        if appearance not in APPEARANCES:
            raise ValueError(appearance)
        if appearance != self._values.appearance:
            self._values = replace(self._values, appearance=appearance)
            self.changed.emit()
            self._write()

    def _parsed(self, text: str) -> Settings:
        checks: dict[str, Callable[[object], bool]] = {
            "appearance": lambda value: value in APPEARANCES,
        }
        try:
            data = json.loads(text)
        except ValueError as error:
            raise self._unusable("is not a settings file", error) from error
        if not isinstance(data, dict) or data.pop("version", None) != VERSION:
            raise self._unusable("is not a settings file of this version")
        wrong = [name for name, value in data.items() if name not in checks
                 or not checks[name](value)]  # fmt: skip
        if wrong:
            raise self._unusable(f"says something unknown of {wrong[0]!r}")
        return replace(self._values, **data)

    def _write(self) -> None:
        temporary = self._path.with_suffix(".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            data = {"version": VERSION, **asdict(self._values)}
            temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
            temporary.replace(self._path)
        except OSError as error:
            raise OutputError(
                f"The settings cannot be written to {self._path}.",
                "They hold until the window is closed; free some space on the disk to keep them.",
                reason=error,
            ) from error

    def _unusable(self, what: str, reason: Exception | None = None) -> UserError:
        return UserError(
            f"The settings file {self._path} {what}.",
            "FaceGen goes on with its own settings; choose yours again, which writes a new file.",
            reason=reason,
        )
