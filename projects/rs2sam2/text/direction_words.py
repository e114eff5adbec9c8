"""The words of direction: phrases that become each other when a picture is turned, and words that are in doubt."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Use = Literal['free', 'place', 'relation', 'side', 'adjective', 'heading', 'wind']
Vector = tuple[int, int]

TOPS = ('at the top', 'on the top')
"""How a data set says where an object at the top is."""


@dataclass(frozen=True, eq=False)
class Family:
    """Phrases of one form, one for each direction (x to the right, y down); None where English has no such phrase.

    Attributes:
        says: the phrase of each direction.
        use: what must stand around a phrase for it to count (`directions`).
    """

    says: Mapping[Vector, str | None]
    use: Use = 'free'


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_UP, _RIGHT, _DOWN, _LEFT = (0, -1), (1, 0), (0, 1), (-1, 0)
_DEGREES = ('', 'far ', 'very ', 'extreme ')
_SAME_PREPOSITION = ('in', 'to', 'from', 'near', 'along', 'toward', 'towards', 'facing', 'off')
_HEADING = ('facing', 'pointing', 'heading', 'headed')
_WINDS = {'north': _UP, 'east': _RIGHT, 'south': _DOWN, 'west': _LEFT}
_WIND_ENDINGS = ('', 'ern', 'ernmost', 'most', 'ward', 'wards', 'erly', 'bound', 'side')

SIDE_NOUNS = _words(
    'side sides edge border half part corner end margin boundary third quarter portion section region zone'
)
"""Of these there is a left one and a top one."""
FRAMES = _words('image picture photo photograph scene frame view map tile screen')
"""What "at the top of ..." is a place of, not a relation to."""
FUNCTION_WORDS = _words(
    """and or but of in on at to by near with without that which who where while is are was were be has have next beside
    between from inside within among along around through as closest nearest adjacent above below surrounded parked
    located situated positioned not than it"""
)
"""Words that no noun phrase begins with."""
ADJECTIVES = _words(
    """a an the two three four five first second third fourth fifth last other
    white gray grey black red orange yellow green cyan blue purple brown pink silver dark light
    large small big little tiny huge long short larger smaller largest smallest biggest longest slender narrow wide
    rectangular square round rounded oval circular"""
)
"""Words that "left" in "left airplane" may follow."""
OWN_SIDES = _words(
    """turn turns turning lane lanes wing wings bank hand hands handed angle angles angled triangle way track tracks
    foot arm leg shoulder bend curve exit ramp floor floors deck decks level levels layer storey story roof
    row rows column columns view down luggage engine engines wingtip headlight headlights wheel wheels carriageway
    secret speed quality whale"""
)
"""After "left" or "top" they make a thing's own side, its height, or another word altogether."""
NO_LANDMARKS = _words('ground water sea average way')
"""After "above" they make a height; "right of way" is none either."""
LINES = _words('row rows column columns')
"""They become each other in a quarter turn, where they are of the picture's grid."""
HARMLESS = _words('built-up made-up pick-up')
"""A word of direction in them is none."""
DOUBTFUL = _words(
    """left right top bottom upper lower above below over under beneath underneath up down upper upside downside upright
    upward upwards downward downwards leftward leftwards rightward rightwards sideways front back behind ahead rear
    higher leftmost rightmost topmost bottommost uppermost lowermost lefthand righthand starboard portside clockwise
    anticlockwise counterclockwise clock leftside rightside topside lefter righter underside topleft topright bottomleft
    bottomright upperleft upperright lowerleft lowerright overhead highest lowest
    horizontal vertical horizontally vertically lefty righty north south east west"""
)
"""Outside the table's phrases nobody knows what they mean in the turned picture."""
WIND_LETTERS = _words('N E S W N-S E-W S-N W-E NNE ENE ESE SSE SSW WSW WNW NNW')
"""Written so they are winds, but no phrase of the table."""
ORDINALS = _words('first second third fourth fifth sixth seventh eighth ninth tenth last')
FOREIGN = _words(
    """der das dem den ein eine einer und auf mit rechts links oben unten unter
    le la les des du une et sur avec gauche droite haut bas dans
    el los las una y con izquierda derecha arriba abajo en
    il lo gli della dello sinistra destra sopra sotto nel
    esquerda direita acima abaixo embaixo da em
    het een naast boven onder
    derecho izquierdo droit destro cima baixo topo superior inferior norte oeste nord sud ouest osten westen norden
    noord zuid oost linksboven rechtsboven linksonder rechtsonder kiri kanan atas bawah soldaki sagdaki
    lewej prawej lewo prawo vlevo vpravo vanster venstre
    zuo shang xia zhong"""
)
"""Articles and directions of other languages that are no words of English."""


def _sides(use: Use, top: str | None, right: str | None, bottom: str | None, left: str | None) -> Family:
    return Family({_UP: top, _RIGHT: right, _DOWN: bottom, _LEFT: left}, use)


def _places(top: str) -> Iterator[Family]:
    """'on the left': the side of the picture."""
    on, other = ('at', 'on') if top == TOPS[0] else ('on', 'at')
    # "At the bottom" is said by all data at hand; the rarer "on the bottom" goes with what is left.
    for far in _DEGREES:
        yield _sides('place', f'{on} the {far}top', f'on the {far}right', f'at the {far}bottom', f'on the {far}left')
        yield _sides('place', f'{other} the {far}top', f'at the {far}right', f'on the {far}bottom', f'at the {far}left')
        for word in _SAME_PREPOSITION:
            yield _sides('place', *(f'{word} the {far}{side}' for side in ('top', 'right', 'bottom', 'left')))
    yield _sides('place', 'from top', 'from right', 'from bottom', 'from left')
    yield _sides('place', 'at top', 'at right', 'at bottom', 'at left')
    for middle in ('center', 'centre', 'middle', 'mid'):
        for template in (f'{{}} {middle}', f'{middle} {{}}', f'{{}}-{middle}', f'{middle}-{{}}'):
            yield _sides('free', *(template.format(side) for side in ('top', 'right', 'bottom', 'left')))


def _relations() -> Iterator[Family]:
    """'on the left of': beside something."""
    yield _sides('relation', 'above', 'on the right of', 'below', 'on the left of')
    # Every way to say "left of" needs a way of its own to say "above", or there were no way back.
    yield _sides('relation', 'situated above', 'to the right of', 'situated below', 'to the left of')
    yield _sides('relation', 'seen above', 'right of', 'seen below', 'left of')
    for word in ('located', 'positioned', 'just', 'directly', 'immediately', 'slightly'):
        yield _sides('relation', f'{word} above', f'{word} to the right of', f'{word} below', f'{word} to the left of')
    yield _sides('relation', None, 'on the far right of', None, 'on the far left of')
    yield _sides('relation', 'at the top of', None, 'at the bottom of', None)


def _single_words() -> Iterator[Family]:
    """'left' before a noun, 'leftmost', 'facing left', 'from left to right'."""
    yield _sides('side', 'top', 'right', 'bottom', 'left')
    yield _sides('side', 'upper', 'right-hand', 'lower', 'left-hand')
    yield _sides('adjective', 'upper', 'right', 'lower', 'left')
    yield _sides('adjective', 'top', 'right-hand', 'bottom', 'left-hand')
    yield _sides('side', None, 'right hand', None, 'left hand')
    yield _sides('free', 'topmost', 'rightmost', 'bottommost', 'leftmost')
    yield _sides('free', 'top-most', 'right-most', 'bottom-most', 'left-most')
    yield _sides('free', 'top most', 'right most', 'bottom most', 'left most')
    yield _sides('free', 'uppermost', None, 'lowermost', None)
    for verb in _HEADING:
        yield _sides('heading', *(f'{verb} {side}' for side in ('up', 'right', 'down', 'left')))
        for ending in ('ward', 'wards'):
            yield _sides('heading', *(f'{verb} {side}{ending}' for side in ('up', 'right', 'down', 'left')))
    for to in ('{} to {}', '{}-to-{}', 'from {} to {}'):
        ends = (('top', 'bottom'), ('right', 'left'), ('bottom', 'top'), ('left', 'right'))
        yield _sides('free', *(to.format(*pair) for pair in ends))
    for ending in ('', 'ly'):
        across, along = f'horizontal{ending}', f'vertical{ending}'
        yield Family({_RIGHT: across, _LEFT: across, _DOWN: along, _UP: along})


def _corners() -> Iterator[Family]:
    """'upper left', 'bottom-right': one form for each pair of words, order and joint."""
    for verticals in (('upper', 'lower'), ('top', 'bottom')):
        for joint in (' ', '-', ''):
            for order in (1, -1):
                yield Family(
                    {
                        (x, y): joint.join((vertical, horizontal)[::order])
                        for y, vertical in zip((-1, 1), verticals, strict=True)
                        for x, horizontal in ((-1, 'left'), (1, 'right'))
                    }
                )


def _winds() -> Iterator[Family]:
    """'north', 'north-eastern', 'west-southwest': north is the top of a picture, before and after."""
    main = list(_WINDS.items())
    pairs = [(a, b, (va[0] + vb[0], va[1] + vb[1])) for a, va in main[::2] for b, vb in main[1::2]]
    for ending in _WIND_ENDINGS:
        yield Family({vector: f'{wind}{ending}' for wind, vector in main}, 'wind')
        for joint in ('-', '', ' '):
            yield Family({vector: f'{a}{joint}{b}{ending}' for a, b, vector in pairs}, 'wind')
    # Of three words, as 'west-southwest': a main wind and a pair that holds it.
    triples = [(c, vc, a, b, v) for a, b, v in pairs for c, vc in main if c in (a, b)]
    for joint, inner in ((x, y) for x in ('-', '', ' ') for y in ('-', '')):
        phrases = {(vc[0] + v[0], vc[1] + v[1]): f'{c}{joint}{a}{inner}{b}' for c, vc, a, b, v in triples}
        yield Family(phrases, 'wind')
    yield Family({vector: f'{a[0]}{b[0]}' for a, b, vector in pairs}, 'wind')
    for joint in ('-', ' to '):
        ends = [(f'{a}{joint}{b}', va) for a, va in main for b, vb in main if va == (-vb[0], -vb[1])]
        yield Family({vector: phrase for phrase, vector in ends}, 'wind')


def families(top: str) -> Iterator[Family]:
    """All families of phrases.

    Args:
        top: one of `TOPS`.
    """
    yield from _places(top)
    yield from _relations()
    yield from _single_words()
    yield from _corners()
    yield from _winds()
