"""Errors that a user can mend: each carries one line that names the file or key and the way out."""


class RefSegError(Exception):
    """Bad input; the text is one line for the user, shown without a traceback by the tools."""


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


class TrainingError(RefSegError):
    """Training cannot go on. It is raised on every process with the same text, and the tools print it once."""
