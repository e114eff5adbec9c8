"""What the model is asked of a scene, for each expression."""

from dataclasses import dataclass
from typing import Literal

from rs2sam2.text.position import uses_position


@dataclass(frozen=True)
class Question:
    """What is asked for one expression.

    Attributes:
        expression: what the user wants.
        text: what the windows are asked.
        whole: whether the whole scene, at reduced resolution, is asked first where it is.
    """

    expression: str
    text: str
    whole: bool


def ask(expression: str, scope: Literal['auto', 'scene', 'window'], one_image: bool) -> tuple[Question, str]:
    """The question for an expression, and what decides: 'scene' or 'window'.

    Args:
        expression: what the user wants.
        scope: 'window': each window alone; 'scene': the whole scene says where; 'auto': 'scene' for expressions with
            words of position or relation.
        one_image: the scene is one window, which sees all of it.
    """
    by_scene = one_image or scope == 'scene' or (scope == 'auto' and uses_position(expression))
    return Question(expression, expression, by_scene and not one_image), 'scene' if by_scene else 'window'
