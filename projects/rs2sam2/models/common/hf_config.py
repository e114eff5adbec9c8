"""Configs of transformers' models from local folders in Hugging Face form; nothing is downloaded."""

from pathlib import Path

from rs2sam2.errors import ConfigError
from rs2sam2.json_text import parse_json


def read_hf_config(folder: str | Path) -> dict:
    """Read the `config.json` of a folder.

    Raises:
        ConfigError: there is no such folder or file, or it is no config.
    """
    file = Path(folder) / 'config.json'
    if not file.is_file():
        raise ConfigError(
            f'{folder} is no local folder with a config.json: nothing is downloaded, fetch config.json, '
            'model.safetensors and the tokenizer of the model into a folder and name it'
        )
    try:
        values = parse_json(file.read_bytes())
    except ValueError as error:
        raise ConfigError(f'{file} is no JSON ({error}): fetch it anew') from error
    if not isinstance(values, dict):
        raise ConfigError(f'{file} is no config of a model: fetch it anew')
    return values


def one_line(error: Exception) -> str:
    """The text of an error without line breaks."""
    return ' '.join(str(error).split())
