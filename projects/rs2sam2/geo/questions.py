"""What the model is asked of a scene, for each expression."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rs2sam2.errors import ReadingError
from rs2sam2.text.doubts import doubts
from rs2sam2.text.position import uses_position
from rs2sam2.text.reading import Reading, Thing, read_expression

Scope = Literal['auto', 'scene', 'window', 'meaning']


@dataclass(frozen=True)
class Question:
    """What windows are asked.

    Attributes:
        text: the words.
        whole: whether the whole scene, at reduced resolution, is asked first and says where.
    """

    text: str
    whole: bool = False


@dataclass(frozen=True)
class Wish:
    """What a user wants, and what is asked for it.

    Attributes:
        expression: the user's words.
        scope: what decides: 'window': each window alone; 'scene': the whole scene, reduced, or it is one window;
            'meaning': what the words mean among all objects of the scene.
        question: for what it is.
        landmark: for what it is related to, or None.
        reading: of the words, where their meaning decides.
        note: what the user should know about it, or None.
    """

    expression: str
    scope: Literal['scene', 'window', 'meaning']
    question: Question
    landmark: Question | None = None
    reading: Reading | None = None
    note: str | None = None


def ask(expression: str, scope: Scope, one_image: bool, several: bool = False) -> Wish:
    """What is asked for an expression.

    Args:
        expression: what the user wants.
        scope: 'auto' and 'meaning': by meaning where place or relation can be split off, by the reduced scene where
            there are other words of position or relation, else by windows; a scene that is one window is asked as it
            is by 'auto'. 'window' and 'scene' hold for all expressions.
        one_image: the scene is one window, which sees all of it.
        several: the model has learned sentences that mean every object of a kind.
    """
    if scope == 'window' and not one_image:
        return Wish(expression, 'window', Question(expression))
    reading = note = None
    if scope == 'meaning' or (scope == 'auto' and not one_image):
        try:
            reading = read_expression(expression)
        except ReadingError as error:
            how = 'the model sees the whole scene' if one_image else 'the reduced scene said where'
            note = f'{error}; {how}'
    readable = note is None
    if not one_image:
        note = '; '.join([*([note] if note else []), *doubts(expression)]) or None
    if reading is not None:
        landmark = Question(question_for(reading.landmark, several)) if reading.landmark else None
        return Wish(expression, 'meaning', Question(question_for(reading.target, several)), landmark, reading, note)
    if one_image:
        return Wish(expression, 'scene', Question(expression), note=note)
    by_scene = scope == 'scene' or not readable or (scope == 'auto' and uses_position(expression))
    return Wish(expression, 'scene' if by_scene else 'window', Question(expression, by_scene), note=note)


def question_for(thing: Thing, several: bool) -> str:
    """What windows are asked to find all things of a kind, in words that the model has learned."""
    return thing.asked_all if several else thing.asked


def all_questions(wishes: Sequence[Wish]) -> list[Question]:
    """The questions of all wishes, each once."""
    asked = [one for wish in wishes for one in (wish.question, wish.landmark) if one is not None]
    return list(dict.fromkeys(asked))
