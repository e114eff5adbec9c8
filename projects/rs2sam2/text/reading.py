"""What a referring expression says: what its object is, where it is, and what it is related to.

"The white storage tank on the upper left of the harbor" is a white storage tank, in a direction from a harbor. Phrases
of direction come from `directions`, words that only look like places from `position`; what is split here is chosen by
the predicates of `semantics` (`choosing`). English only.
"""

import re
from dataclasses import dataclass, replace

from rs2sam2.errors import ReadingError
from rs2sam2.text.colours import COLOURS
from rs2sam2.text.directions import direction_phrases
from rs2sam2.text.number import ONE_OR_MANY, head_noun, is_plural, plural, singular
from rs2sam2.text.position import FRAME, IN_FRAME, NAME, NO_PLACE, untitled, uses_position
from rs2sam2.text.reading_words import (
    ADJECTIVE,
    AND,
    ARTICLES,
    ASKING,
    BELONGING,
    CENTRE,
    CHOICE,
    COUNT,
    COUNTED,
    END_OF,
    FARTHEST,
    FURTHEST,
    IS_MOST,
    LEADING,
    LOOKS,
    MANY,
    MEASURE,
    MOST_OF,
    NEAREST,
    NEAREST_TO,
    NO_START,
    NOTHING,
    OF_GROUP,
    ORDER,
    PART,
    PLACE,
    RANKED,
    RELATION,
    ROUND,
    SHORT_FORMS,
    SIZED,
    TOGETHER,
    TRAILING,
    UNKNOWN,
    VECTORS,
    WINDS,
    Choice,
    Size,
)
from rs2sam2.text.semantics import CELLS, DIRECTIONS, MOST, SIZES


@dataclass(frozen=True)
class Thing:
    """A thing as a sentence describes it.

    Attributes:
        asked: what it is, as a window is asked: 'the white storage tank'.
        colour: one of `COLOURS`, or None.
        size: 'large', 'small' or None: beside all things of its kind.
        cell: (row, column) of the 3x3 grid of the whole picture, or None.
        choice: which one of all that fit, or None.
        several: whether all that fit are meant.
    """

    asked: str
    colour: str | None = None
    size: str | None = None
    cell: tuple[int, int] | None = None
    choice: Choice | None = None
    several: bool = False

    @property
    def asked_all(self) -> str:
        """The same of all of them: 'All white storage tanks'."""
        return f'All {plural(self.asked.removeprefix("the ").removeprefix("all "))}'

    def places(self) -> list[str]:
        """What the picture as a whole decides, in words."""
        words = [self.size] if self.size else []
        if self.cell is not None:
            words.append(CELLS[self.cell[0]][self.cell[1]])
        if self.choice is not None:
            words.append(f'{self.choice.removesuffix("e")}est' if self.choice in SIZES else MOST[self.choice])
        return words


@dataclass(frozen=True)
class Reading:
    """A sentence, split.

    Attributes:
        target: what is meant.
        relation: one of `DIRECTIONS`, `NEAREST` or `FARTHEST`; None without a landmark.
        landmark: what the target is seen from, or None.
    """

    target: Thing
    relation: str | None = None
    landmark: Thing | None = None

    @property
    def questions(self) -> tuple[str, ...]:
        """What windows are asked, each once."""
        things = (self.target,) if self.landmark is None else (self.target, self.landmark)
        return tuple(dict.fromkeys(thing.asked for thing in things))

    def decisions(self) -> list[str]:
        """What is decided over the whole picture, in words."""
        said = self.target.places()
        if self.relation is not None and self.landmark is not None:
            said.append(' '.join([self.relation, self.landmark.asked, *self.landmark.places()]))
        return said


def read_expression(text: str) -> Reading | None:
    """Split a sentence.

    Returns:
        The reading; None for a sentence in which nothing is decided by the picture as a whole: no place in it, no
        relation, no choice among several.

    Raises:
        ReadingError: it says where its object is in a way that this grammar does not know; `reason` says which.
    """
    text = _spelled_out(text)
    said, kept = _marked(text)
    placed = uses_position(text)
    if not placed and not any(pattern.search(said) for pattern in (CHOICE, COUNTED)) and not RANKED.search(text):
        return None
    return _Splitter(text, kept).read(said, placed)


def _spelled_out(text: str) -> str:
    """The sentence in the forms that the grammar knows: 'S of the pier' -> 'south of the pier'."""
    said = untitled(' '.join(text.split())).replace('\u2019', "'").strip(' "\'`\u2018\u201c\u201d\u201e')
    for pattern, name in SHORT_FORMS:
        said = pattern.sub(name, said)
    return said.strip(' ,')


def _marked(text: str) -> tuple[str, list[str]]:
    """The sentence in small letters, directions and the frame as marks, words that only look like them as _0_."""
    # Whoever types a mark means none.
    said = ' '.join(re.sub(r'[<>@_]', ' ', text).split()).strip(' .!?')
    kept: list[str] = []

    def keep(match: re.Match) -> str:
        kept.append(match[0])
        return f'_{len(kept) - 1}_'

    said = NO_PLACE.sub(keep, NAME.sub(keep, said))
    said = IN_FRAME.sub(f' {FRAME} ', said)
    pieces, done = [], 0
    for phrase in direction_phrases(said):
        x, y = ((v > 0) - (v < 0) for v in phrase.vector)
        words = said[phrase.start : phrase.end].lower()
        # Which way a thing lies or looks is no place.
        if phrase.use == 'heading' or re.search(r'horizontal|vertical|\bto\b(?! the)|bound|-to-', words):
            continue
        kind = {'place': '@', 'relation': ':'}.get(phrase.use, '!' if words.endswith('most') else '')
        pieces += [said[done : phrase.start], f'<{WINDS[x, y]}{kind}>']
        done = phrase.end
    said = ''.join([*pieces, said[done:]]).lower().replace('grey', 'gray')
    said = re.sub(r'(?<=>)[ -]hand\b', '', CENTRE.sub('<c>', said)).replace('>-most', '!>')
    said = re.sub(r'<([ns])> <([ew])>', r'<\1\2>', said)  # 'bottom left-hand'
    said = re.sub(r'<([nesw])> <c>|<c> <([nesw])>', r'<\1\2>', said)  # 'top centre': the middle of the top
    return ' '.join(said.replace(',', ' , ').split()), kept


class _Splitter:
    """Takes one marked sentence apart."""

    def __init__(self, text: str, kept: list[str]) -> None:
        self._text, self._kept = text, kept

    def read(self, said: str, placed: bool) -> Reading | None:
        """The reading, see `read_expression`."""
        if ranked := RANKED.search(self._text):
            raise self._refusal(f'{ranked[0]!r}')
        said = ASKING.sub('', said)
        target, relation, landmark = self._cut(said)
        thing = self._thing(target)
        mark = None if landmark is None else self._thing(landmark)
        if relation in (NEAREST, FARTHEST) and head_noun(thing.asked) in ONE_OR_MANY and not MANY.match(target):
            thing = replace(thing, several=False)
        if thing.several and relation in (NEAREST, FARTHEST):
            raise self._refusal('how near is near')
        if thing.choice is None and thing.cell is None and relation is None:
            if placed or CHOICE.search(said):
                raise self._refusal('a place of no known form' if placed else 'a choice in no known form')
            return None
        return Reading(thing, relation, mark)

    def _cut(self, said: str) -> tuple[str, str | None, str | None]:
        """Target, relation and landmark; the latter two None where nothing is related."""
        if match := NEAREST_TO.match(said):
            return match['what'], NEAREST if match['how'] in ('nearest', 'closest') else FARTHEST, match['mark']
        found = [(match, name) for pattern, name in RELATION for match in pattern.finditer(said)]
        if not found:
            return said, None, None
        if len(found) > 1:
            raise self._refusal('two relations')
        ((match, name),) = found
        if name is None:
            name = DIRECTIONS[ROUND.index(match['wind'])]
        return said[: match.start()].strip(), name, said[match.end() :].strip()

    def _thing(self, said: str) -> Thing:
        said = said.strip(' ,')
        group = bool(OF_GROUP.match(said))
        choice, said = self._choice(said)
        cell, said = self._cell(said)
        said = TRAILING.sub('', said).strip(' ,')
        said = said.replace(FRAME, ' ')
        article = ARTICLES.match(f'{said} ')
        said = ' '.join((f'{said} '[article.end() :] if article else said).split())
        several = bool(
            article and article['all'] and article['all'].split()[0] in ('all', 'every', 'each', 'both', 'any')
        )
        if measure := MEASURE.search(said):
            raise self._refusal(f'{measure[0]!r}, which nobody measures')
        if count := COUNT.match(said):
            if choice is not None:
                raise self._refusal('a choice of several')
            several, said = True, said[count.end() :]
        size, colour, noun = self._adjectives(said)
        if re.search(r'\b(?:larger|bigger|smaller)\b', said) and choice is None:
            choice, size = size, None
        if '<' in noun or ',' in noun or any(one.search(noun) for one in (NOTHING, NO_START)) or not head_noun(noun):
            raise self._refusal('a direction in no known phrase' if '<' in noun else 'it names no thing')
        if PART.match(noun):
            raise self._refusal('a part of another thing')
        if article is None and ORDER.match(noun):
            raise self._refusal('words before the thing')
        if unknown := UNKNOWN.search(noun):
            raise self._refusal(f'{unknown[0]!r}')
        if TOGETHER.search(noun) or (AND.search(BELONGING.split(noun)[0]) and not is_plural(noun)):
            raise self._refusal('several things')
        if uses_position(self._whole(noun)) or re.search(r'\b(?:is|are)\b', noun):
            raise self._refusal('a place of no known form')
        if choice is not None and is_plural(noun) and not group and head_noun(noun) not in ONE_OR_MANY:
            raise self._refusal('a choice of several')
        several = (several or is_plural(noun)) and choice is None
        every = article['all'].split()[0] if article else 'the'
        asked = f'{"all" if every in ("all", "both") and several else "the"} {noun}'
        return Thing(self._whole(asked), colour, size, cell, choice, several)

    def _choice(self, said: str) -> tuple[Choice | None, str]:
        """'the leftmost ship' -> 'left', 'the ship'."""
        if match := OF_GROUP.match(said):
            word = SIZED[match['size']] if match['size'] else END_OF.get(match['wind'])
            if word is None:
                raise self._refusal('the end of a group in a corner')
            return word, f'the {singular(match["rest"]) if match["two"] else match["rest"]}'
        if match := FURTHEST.match(said):
            return END_OF[match['wind']], match['rest']
        if (match := IS_MOST.match(said)) and (match['most'] or match['wind'] in END_OF):
            return SIZED[match['most']] if match['most'] else END_OF[match['wind']], match['rest']
        found = list(MOST_OF.finditer(said))
        if len(found) > 1:
            raise self._refusal('two choices')
        if not found:
            return None, said
        (match,) = found
        wind = match['wind'] or match['wind2']
        word = SIZED[match['most']] if match['most'] else END_OF.get(wind)
        if word is None:
            raise self._refusal('the end of a group in a corner')
        before, after = said[: match.start()], said[match.end() :]
        # 'The roof of the largest house' is not the largest roof.
        if BELONGING.search(before.split(',')[-1]) or re.match(r"[\w ]*'s? ", after):
            raise self._refusal('a choice of what it belongs to')
        return word, before + after

    def _cell(self, said: str) -> tuple[tuple[int, int] | None, str]:
        """'the ship on the upper left' -> (0, 0), 'the ship'."""
        found = [match for pattern in PLACE for match in pattern.finditer(said)]
        adjective = ADJECTIVE.match(said)
        if adjective and not found:
            after = said[adjective.end() :]
            if re.search(r"'s? | of (?:the|an?|this|that) ", after):
                raise self._refusal('a part of another thing')
            # 'The upper two bridges' need not be in the upper part.
            if COUNT.match(after) or COUNT.match(adjective['before'].removeprefix('the ')):
                raise self._refusal('a choice of several')
            said = f'{adjective["before"]}{after}'
            return _cell_of(adjective['wind']), said
        if not found:
            return None, said
        winds = {match['wind'] for match in found}
        if len(winds) > 1 or adjective:
            raise self._refusal('two places')
        match = found[0]
        before, after = said[: match.start()].strip(), said[match.end() :].strip(' ,')
        if before and after:
            # 'The ship on the left which is red' goes on behind its place.
            after = LEADING.sub('', after)
            if after:
                raise self._refusal('words behind the place')
        return _cell_of(match['wind']), before or after

    def _adjectives(self, said: str) -> tuple[Size | None, str | None, str]:
        """Size and colour, and the words without the size."""
        rest: list[str] = []
        words, size, colours = said.split(), None, []
        while words and (words[0] in SIZED or words[0] in COLOURS or words[0] in ('and', 'very', ',', *LOOKS)):
            word = words.pop(0)
            if word in SIZED:
                size = SIZED[word]
                continue
            colours += [word] if word in COLOURS else []
            rest += [word] if word not in ('and', 'very', ',') or (word == 'and' and rest) else []
        return size, colours[0] if len(colours) == 1 else None, ' '.join([*rest, *words])

    def _whole(self, said: str) -> str:
        """The words with what was kept back in its place."""
        return re.sub(r'_(\d+)_', lambda match: self._kept[int(match[1])], said)

    def _refusal(self, reason: str) -> ReadingError:
        return ReadingError(f'{self._text!r} cannot be split into what and where: {reason}', reason)


def _cell_of(wind: str) -> tuple[int, int]:
    x, y = VECTORS[wind]
    return y + 1, x + 1
