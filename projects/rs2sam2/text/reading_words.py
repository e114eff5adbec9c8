"""The forms of words that `reading` splits sentences by: places, choices, relations, and what it does not know.

Directions are marks here: <e> is one, <e!> '-most', <e@> a place that is whole ('on the left'), <e:> a relation, <c>
the middle, and `FRAME` is the picture.
"""

import re
from typing import Literal

from rs2sam2.text.position import FRAME

Size = Literal['large', 'small']
Choice = Literal['left', 'right', 'upper', 'lower', Size]
"""The one at an end of a group, or the largest or smallest of it."""

NEAREST, FARTHEST = 'nearest to', 'farthest from'

_LETTERS = {'N': 'north', 'E': 'east', 'S': 'south', 'W': 'west'}
SHORT_FORMS = [
    *(
        (re.compile(rf'\b{letter}(?= of\b)|(?<=\b(?:in|to|on|at) the ){letter}\b(?!\.\w)'), word)
        for letter, word in _LETTERS.items()
    ),
    (re.compile(r'\b(north|south|east|west)(?:ern)?[- ]most\b', re.IGNORECASE), r'\1ernmost'),
    (re.compile(r'\b(left|right|upper|lower|top|bottom)[- ]most\b', re.IGNORECASE), r'\1most'),
    (re.compile(r'\bmost (left|right)\b(?!-)', re.IGNORECASE), r'\1most'),
    (re.compile(r' \((?=[^()]*\)$)|\)$'), ', '),
    (re.compile(r'(?<=\w)-(?=hand\b)', re.IGNORECASE), ' '),
    (re.compile(r"\b(that|which|who|what|where|it|there)'s\b", re.IGNORECASE), r'\1 is'),
]
"""Short or rare spellings, and what stands for them; these with the case that was typed."""

WINDS = {(0, -1): 'n', (1, -1): 'ne', (1, 0): 'e', (1, 1): 'se', (0, 1): 's', (-1, 1): 'sw', (-1, 0): 'w'}
WINDS |= {(-1, -1): 'nw', (0, 0): 'c'}
VECTORS = {name: vector for vector, name in WINDS.items()}
ROUND = ('e', 'se', 's', 'sw', 'w', 'nw', 'n', 'ne')
"""In the order of `semantics.DIRECTIONS`."""
END_OF: dict[str, Choice] = {'w': 'left', 'e': 'right', 'n': 'upper', 's': 'lower'}
CENTRE = re.compile(r'\b(?:(?:very|exact) )?(?:middle|cent(?:er|re)|central)\b')
ANY = r'<(?P<wind>[nesw]{1,2}|c)>'
_OUTER = 'sides?|edge|border|margin|end|region|area|section|third|quarter|quadrant|zone'
SIDE = rf'(?:{_OUTER}|part|corner)'
# What is a part of another thing: 'the northern end of the pier'.
PART = re.compile(
    r'^(?:one|ones|sides?|part|edge|border|margin|corner|end|bank|shore|tip|section|region|area|portion|wing|arm) of '
)
FAR = r'(?:(?:far|very|extreme) )?'
PLACES = (
    rf'<(?P<wind>[nesw]{{1,2}})@>(?: {SIDE})?(?: {FRAME})?(?=$| |,)',
    rf'(?:^|(?<= ))(?:in|on|at|to|from|near|along|towards?|by) (?:the )?{FAR}{ANY}(?: {SIDE})?(?: {FRAME})?(?=$| |,)',
    rf'(?:^|, ?)(?:the )?{ANY}(?: {SIDE})?(?: {FRAME})?$',
)
PLACE = [re.compile(pattern) for pattern in PLACES]
ADJECTIVE = re.compile(rf'^(?P<before>(?:[a-z-]+ ){{0,3}}?){ANY}(?: {SIDE})? (?!(?:of|and|or|nor|but)\b)(?=[a-z_])')
NUMBERS = r'(?:two|three|four|five|six|seven|eight|nine|ten|\d+)'
SIZED: dict[str, Size] = {'large': 'large', 'larger': 'large', 'largest': 'large', 'big': 'large', 'bigger': 'large'}
SIZED |= {'biggest': 'large', 'huge': 'large', 'greatest': 'large', 'small': 'small', 'smaller': 'small'}
SIZED |= {'smallest': 'small', 'tiny': 'small', 'tiniest': 'small', 'little': 'small', 'littlest': 'small'}
SUPERLATIVE = r'(?P<most>largest|biggest|greatest|smallest|tiniest|littlest)'
CHOICE = re.compile(
    rf'\b{SUPERLATIVE}\b|\b(?:larger|bigger|smaller) (?:one )?of\b|'
    r'^the (?:[a-z]+ ){0,2}(?:larger|bigger|smaller) (?!than)'
)
MOST_OF = re.compile(rf'(?:\bmost )?<(?P<wind>[nesw]{{1,2}})!> |\bmost <(?P<wind2>[nesw]{{1,2}})> |\b{SUPERLATIVE} ')
COUNTED = re.compile(r'\bof (?:the |these |those )?two\b')
# 'The left one of the two ships', 'the larger of the two ships', 'the rightmost of the parked cars'.
OF_GROUP = re.compile(
    r'^(?:the )?(?:<(?P<wind>[nesw]{1,2})!?>|(?P<size>larger|bigger|smaller|largest|biggest|smallest))'
    r'(?: ones?)? of (?:all )?(?:the |these |those )?(?:(?P<two>two) )?(?P<rest>.+)$'
)
FURTHEST = re.compile(
    r'^(?P<rest>.+?) (?:the )?(?:furthest|farthest) (?:(?:to|in|on|at|towards?) (?:the )?)?<(?P<wind>[nesw])@?>$'
)
ARE = r'(?:is|are|was|were|lies?|sits?|stands?)'
# 'The ship that is the largest', 'which tank is leftmost'.
IS_MOST = re.compile(
    rf'^(?P<rest>.+?) (?:that |which |who )?{ARE} (?:the )?(?:{SUPERLATIVE}|<(?P<wind>[nesw]{{1,2}})!>)(?: one)?$'
)
LINK = (
    rf'(?:that|which|who|{ARE}|being|located|situated|positioned|placed|lying|standing|seen|just|directly|immediately|'
    r'slightly|somewhat|and|but|,)'
)
TRAILING = re.compile(rf'(?:(?:^| ){LINK})+$')
LEADING = re.compile(rf'^(?:{LINK} ?)+\b(?=.)')
RELATIONS = (
    (r'<(?P<wind>[nesw]{1,2}):> ', None),
    (
        # 'In the north of the city' is a part of it.
        rf'(?:(?:to|on) the |(?<! the ))<(?P<wind>[nesw]{{1,2}})>(?: (?:{_OUTER}))? of (?!{FRAME})',
        None,
    ),
    (
        r'(?:nearest|closest)(?: to)? |(?:next|adjacent|close|closer|near) to |(?:beside|near|nearby|alongside) ',
        NEAREST,
    ),
    (r'(?:farthest|furthest)(?: away)? from ', FARTHEST),
)
RELATION = [(re.compile(rf'(?<= ){pattern}(?!$)'), name) for pattern, name in RELATIONS]
NEAREST_TO = re.compile(
    r'^(?:the )?(?P<how>nearest|closest|farthest|furthest) (?P<what>[^<>]+?) (?:to|from) (?P<mark>.+)$'
)
VAGUE = re.compile(r'\b(?:next|adjacent|close|closer|near) to |\b(?:beside|near|nearby|alongside) ')
ASKING = re.compile(
    r'^(?:(?:please|hi|hello|now) )*(?:(?:can|could|would|will|do|did) (?:you|we|i) (?:please )?)?'
    r'(?:find|show|segment|mark|detect|extract|select|highlight|locate|map|outline|give|get|identify|delineate|'
    # 'Draw bridges' are bridges.
    r'(?:count|label|draw|trace|digiti[sz]e|vectori[sz]e|see|list|pick|point|search|look)'
    r'(?= (?:the|an?|all|every|each|both|any|me|us|out|for|at)\b)|'
    r"(?:where|what|which|who)(?: (?:is|are)|'s)?|(?:is|are) there(?: any)?|"
    r'tell (?:me|us)(?: (?:where|what|which))?(?: (?:is|are))?|'
    r"(?:i|we)(?:'d| would)? (?:like|want|need|search|look)(?: to (?:see|find|have|get|segment|map))?|"
    r"(?:i am |i'm )?looking)"
    r'(?: me| us)?(?: out)?(?: at| for)? (?=\w)'
)
# Words that begin no thing: whoever asks so is not understood.
NO_START = re.compile(
    r"^(?:can|could|would|will|shall|should|may|do|does|did|is|are|was|were|am|i|i'\w+|you|we|they|he|she|my|me|us|what|"
    r"which|who|whose|why|when|how|where|please|if|let|let's|there|here|yes|no|ok|okay)\b(?! of)"
)
ARTICLES = re.compile(
    r'^(?P<all>(?:all|every|each|both|any)(?: of)?(?: the| these| those)?|the|an?|some|this|that|these|those) '
)
COUNT = re.compile(rf'^{NUMBERS} ')
# What names no thing that a window could be asked for.
NOTHING = re.compile(
    r'^(?:one|ones|thing|things|everything|anything|something|objects?|items?|it|all|area|areas|part|parts|half|section|'
    r'region|side|corner|end|rest|others?|stuff|first|last)$'
)
UNKNOWN = re.compile(
    r'\b(?:than|similar|same|second|third|fourth|fifth|\d+(?:st|nd|rd|th)|first|last|longest|shortest|widest|narrowest|'
    r'tallest|highest|lowest|oldest|newest|brightest|darkest|between|beneath|underneath|behind|opposite|except|but|or|'
    r'not|most|least|has|have|having|contains?|containing|other|another|both|half|halves|quarter|outer|inner|outermost|innermost|second-\w+|row|rows|column|columns)\b'
)
LOOKS = ('dark', 'light', 'long', 'slender', 'oval', 'round', 'rounded', 'rectangular', 'square', 'circular')
