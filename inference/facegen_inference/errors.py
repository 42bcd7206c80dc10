"""The two kinds of error: what the user can act on, and everything else (a bug).

Only `UserError` and its kinds may reach the user as a sentence.  `Cancelled` is no error at all
and shows nothing.
"""


class UserError(Exception):
    """A problem the user can act on.

    Parameters
    ----------
    message
        What happened, in one sentence.
    advice
        What to do next, in one sentence.
    details
        Technical values for the report (file names, counts, tags); never shown as the message.
    """

    exit_status = 2

    def __init__(self, message: str, advice: str = "", **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.details = details

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".strip()

    def as_data(self) -> dict[str, object]:
        """Return the error as plain data for ``--json``."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "advice": self.advice,
            "details": {key: str(value) for key, value in self.details.items()},
        }


class ScanError(UserError):
    """The scan cannot be read, or its geometry cannot be proved."""


class NoHeadFound(UserError):
    """No human head was found in the scan (a chest, a knee, a sphere, an empty volume)."""


class FrameUnsure(UserError):
    """The Frankfurt frame could not be established safely; the user is asked for landmarks."""


class ModelError(UserError):
    """A model file is damaged, incompatible or not a FaceGen model."""


class OutputError(UserError):
    """Results cannot be written where the user asked for them."""
