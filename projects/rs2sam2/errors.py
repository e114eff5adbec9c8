"""Errors that a user can mend: each carries one line that names the file or key and the way out."""

import re

from rs2sam2.terminal import plain, shortened

# How torch hands on what a worker of a data loader raised: the worker's traceback, which ends with kind and text.
_FROM_WORKER = re.compile(
    r'Caught \w+ in DataLoader worker process \d+\.\nOriginal Traceback.*\n[\w.]+: (.*)', re.DOTALL
)


class RefSegError(Exception):
    """Bad input; as a text it is one line for the user, shown without a traceback by the tools."""

    def __str__(self) -> str:
        text = super().__str__().strip()
        found = _FROM_WORKER.fullmatch(text)
        return shortened(plain(found[1] if found else text))


class DataError(RefSegError):
    """A data set, image, mask or annotation cannot be used."""


class ConfigError(RefSegError):
    """A config or an argument cannot be used."""


class CheckpointError(RefSegError):
    """A weights file cannot be used."""


class TokenizerError(RefSegError):
    """A tokenizer file or an expression cannot be used."""


class OutputError(RefSegError):
    """Results cannot be written, or belong to another run."""


class WorkerError(RefSegError):
    """A process that did a part of the work is lost."""


class TrainingError(RefSegError):
    """Training cannot go on. It is raised on every process with the same text, and the tools print it once."""


class SentenceError(RefSegError):
    """A sentence cannot be dealt with by rules.

    Attributes:
        reason: why, in a few words that many sentences share.
    """

    def __init__(self, text: str, reason: str = '') -> None:
        super().__init__(text)
        self.reason = reason

    def __reduce__(self) -> tuple:
        return type(self), (*self.args, self.reason)


class TurnError(SentenceError):
    """A sentence has no exact counterpart in a turned picture."""


class ReadingError(SentenceError):
    """A sentence says where its object is in a way that is not known."""
