"""Options that several commands of `rs2sam2` have, and how their values are read; needs neither torch nor mmseg."""

import math
import re
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

Model = Annotated[
    str,
    typer.Option(
        '--model',
        '-m',
        metavar='NAME|PATH',
        help='A published model (see *rs2sam2 models*), hf:user/repo[@revision][/folder], a work dir that training '
        'left, a bundle, a config file, or an exported model (OUT.onnx of *rs2sam2 export*).',
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        '--weights',
        '-w',
        metavar='NAME|PATH',
        help="Checkpoint, ours or a published one; else the model's own or best.",
    ),
]
Device = Annotated[str | None, typer.Option(help='cpu, cuda:1 ...; else a GPU where there is one.')]
Precision = Annotated[
    str | None,
    typer.Option(help='fp32, bf16 or fp16; else bf16 on a GPU that has it, fp32 elsewhere.'),
]
Compile = Annotated[
    bool, typer.Option('--compile', help='Compile the model: a minute or more at first, less time for every batch.')
]
TTA = Annotated[
    str | None,
    typer.Option(
        metavar='all|NAME,...',
        help='Average over turned copies of the image, the expression turned with it: all eight, or symmetries by name '
        '(rot90, rot180, rot270, flip_horizontal, flip_vertical, transpose, anti_transpose). One forward a copy.',
    ),
]
MinScore = Annotated[
    float | None, typer.Option(min=0, max=1, help='A mask whose score is below is emptied; the results say so.')
]


class OnceCommand(TyperCommand):
    """A command that refuses an option a second time, where only the last would count."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Look at the order in which options came, before they are parsed in earnest."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        once: list[Any] = [param for param in order if param.param_type_name == 'option' and not param.multiple]
        for param in once:
            if once.count(param) > 1 and not param.is_eager:
                raise typer.BadParameter('it is given more than once; give it once', ctx, param)
        return super().parse_args(ctx, args)


def numbers_of(text: str, option: str, counts: tuple[int, ...]) -> list[float]:
    """Finite numbers with commas or blanks between, as many as one of `counts` says."""
    from rs2sam2.errors import ConfigError

    try:
        numbers = [float(part) for part in re.split(r'[,\s]+', text.strip())]
    except ValueError:
        numbers = []
    if len(numbers) not in counts or not all(map(math.isfinite, numbers)):
        raise ConfigError(f'{option} {text}: {" or ".join(map(str, counts))} numbers with commas between')
    return numbers


def whole_numbers_of(text: str, option: str, counts: tuple[int, ...]) -> list[int]:
    """The same, all of them whole."""
    from rs2sam2.errors import ConfigError

    numbers = numbers_of(text, option, counts)
    if not all(map(float.is_integer, numbers)):
        raise ConfigError(f'{option} {text}: whole numbers with commas between')
    return list(map(int, numbers))
