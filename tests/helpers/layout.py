"""Trainings without yapf, which takes most of a tiny one's time to lay out the text of its config."""

from yapf.yapflib import yapf_api


def leave_layout_out() -> None:
    """Configs are logged and saved as mmengine writes them, on long lines, in this process and its forks."""
    yapf_api.FormatCode = lambda text, **_: (f'{text}\n', True)
