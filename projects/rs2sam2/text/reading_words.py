"""The forms of words that `reading` splits sentences by: places, choices, relations, and what it does not know.

Directions are marks here: <e> is one, <e!> '-most', <e@> a place that is whole ('on the left'), <e:> a relation, <c>
the middle, and `FRAME` is the picture.
"""

import re
from typing import Literal

from rs2sam2.text.colours import COLOURS
from rs2sam2.text.position import FRAME

Size = Literal['large', 'small']
Choice = Literal['left', 'right', 'upper', 'lower', Size]
"""The one at an end of a group, or the largest or smallest of it."""

NEAREST, FARTHEST = 'nearest to', 'farthest from'

_LETTERS = {'N': 'north', 'E': 'east', 'S': 'south', 'W': 'west'}
_SIDES = r'(?:sides?|edge|border|margin|end|region|area|section|third|quarter|quadrant|zone|part|corner|half)'
SHORT_FORMS = [
    *(
        (re.compile(rf'\b{letter}\.?(?= of\b)|(?<=\b(?:in|to|on|at) the ){letter}\b(?!\.\w)'), word)
        for letter, word in _LETTERS.items()
    ),
    *((re.compile(rf'(?<=\b(?:in|to|on|at) ){letter}(?=[.!?]*$)'), f'the {word}') for letter, word in _LETTERS.items()),
    (re.compile(r'\b(NE|NW|SE|SW)\.(?= of\b)'), r'\1'),
    (re.compile(r'\b(on|at) (left|right|bottom)(?=$|[.,!?])', re.IGNORECASE), r'\1 the \2'),
    # 'Left to the tower' is left of it; a road that leads left to it is not.
    (
        re.compile(
            r'\b(?!(?:the|from|far|(?:turn|go|lead|run|bend)(?:e?s|n?ing)?)\b)(\w+) (left|right) '
            r'(?:to|from)(?= (?:the|an?)\b)',
            re.IGNORECASE,
        ),
        r'\1 \2 of',
    ),
    (
        re.compile(r'^(?:the )?(left|right|upper|lower) of (?=(?:the |these |those )?two\b)', re.IGNORECASE),
        r'\1 one of ',
    ),
    (
        re.compile(
            r'^(?:the )?(left|right|upper|lower|larger|bigger|smaller) ((?!ones?\b)[\w ]+?) '
            r'of (?:the |these |those )?two(?=\W*$)',
            re.IGNORECASE,
        ),
        r'the \1 one of the two \2',
    ),
    (re.compile(r'\b(north|south|east|west)(?:ern)?[- ]most\b', re.IGNORECASE), r'\1ernmost'),
    (re.compile(r'\b(left|right|upper|lower|top|bottom)[- ]most\b', re.IGNORECASE), r'\1most'),
    (re.compile(r'\bmost (left|right)\b(?!-)', re.IGNORECASE), r'\1most'),
    (re.compile(r' \((?=[^()]*\)$)|\)$|[;:](?=\s|$)'), ', '),
    (re.compile(r'["\u201c\u201d\u201e]|(?<!\w)[\'\u2018](?=[\w ]+\')|(?<!s)\'(?!\w)'), ''),
    (re.compile(r',? (?:please|thanks|thank you)[.!]?$', re.IGNORECASE), ''),
    (re.compile(rf'\b(left|right)[- ]hand (?!{_SIDES}s?\b)', re.IGNORECASE), r'\1 '),
    (re.compile(r'\b(furthest|farthest) (left|right)$', re.IGNORECASE), r'\1 to the \2'),
    (
        re.compile(rf'\b(?:furthest|farthest|far|extreme) (left|right) (?!(?:of|{_SIDES}s?)\b)(?=\w)', re.IGNORECASE),
        r'\1most ',
    ),
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
    r'^(?:one|ones|sides?|part|edge|border|margin|corner|end|bank|shore|tip|point|half|section|region|area|'
    r'portion|wing|arm) of '
)
FAR = r'(?:(?:far|very|extreme) )?'
PLACES = (
    rf'<(?P<wind>[nesw]{{1,2}})@>(?: {SIDE})?(?: {FRAME})?(?=$| |,)',
    rf'(?:^|(?<= ))(?:in|on|at|to|from|near|along|towards?|by) (?:the )?{FAR}{ANY}(?: {SIDE})?(?: {FRAME})?(?=$| |,)',
    rf'(?:^|, ?)(?:the )?{ANY}(?: {SIDE})?(?: {FRAME})?$',
)
PLACE = [re.compile(pattern) for pattern in PLACES]
_PREPOSITION = r'(?:in|on|at|with|of|along|under|over|without|from|around|by|inside|through|across|for|to|onto|into)'
BELONGING = re.compile(rf'\b{_PREPOSITION} ')
ADJECTIVE = re.compile(
    rf'^(?P<before>(?:(?!{_PREPOSITION} )[a-z-]+ ){{0,3}}?){ANY}(?: {SIDE})? '
    rf'(?!(?:of|and|or|nor|but|{SIDE}$)\b)(?=[a-z_])'
)
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
    # 'North of the city' is none: "the left of" means one where it says so or there are two.
    r'^(?:the )?(?:<(?P<wind>[nesw]{1,2})(?:!>|>(?= ones? | of (?:the |these |those )?two\b))|'
    r'(?P<size>larger|bigger|smaller|largest|biggest|smallest))'
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
    rf'(?:that|which|who|{ARE}|being|located|situated|positioned|placed|lying|standing|seen|found|visible|'
    r'shown|just|directly|immediately|slightly|somewhat|far|due|straight|'
    r'(?:over )?there|a (?:little|bit|long way|short way)|some (?:way|distance)|and|but|,)'
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
ASKING = re.compile(
    r'^(?:(?:please|hi|hello|now) )*(?:(?:can|could|would|will|do|did) (?:you|we|i) (?:please )?)?'
    r'(?:find|show|segment|mark|detect|extract|select|highlight|locate|map|outline|give|get|identify|delineate|'
    # 'Draw bridges' are bridges.
    r'(?:count|label|draw|trace|digiti[sz]e|vectori[sz]e|see|list|pick|point|search|look)'
    r'(?= (?:the|an?|all|every|each|both|any|me|us|out|for|at)\b)|'
    r"(?:where|what|which|who)(?: (?:is|are)|'s)?|(?:is|are) there(?: any)?|"
    r'tell (?:me|us)(?: (?:where|what|which))?(?: (?:is|are))?|'
    r"(?:i|we)(?:'d| would)? (?:like|want|need|search|look)(?: to (?:see|find|have|get|segment|map))?|"
    r"(?:i am |i'm )?looking|(?:zoom|pan|go|jump|fly|move|navigate)(?: in)?(?: on)?(?: to)?(?= (?:the|an?|all)\b))"
    r'(?: me| us)?(?: out)?(?: at| for)? (?=\w)'
)
# Words that begin no thing: whoever asks so is not understood.
NO_START = re.compile(
    r"^(?:can|could|would|will|shall|should|may|do|does|did|is|are|was|were|am|i|i'\w+|you|we|they|he|she|my|me|us|what|"
    r"which|who|whose|why|when|how|where|please|if|let|let's|there|here|yes|no|ok|okay|our|your|their|his|her|its|"
    r'whichever|whatever|something|anything|everything|nothing)\b(?! of)'
)
ARTICLES = re.compile(
    r'^(?P<all>(?:all|every|each|both|any)(?: of)?(?: the| these| those)?|'
    r'(?:(?:the|an?) )?(?:(?:several|few|many|numerous|various|multiple)(?: of the)?|'
    r'(?:couple|pair|lots?|number|dozens?|handful) of(?: the)?)|'
    r'(?:the|an?) (?:only|single|sole|one(?! way))|the|an?|some|this|that|these|those) '
)
# 'Delete the ship': what is to be done with it nobody knows.
ORDER = re.compile(r'^[a-z-]+ (?:the|all|every|each|these|those|my|your) ')
MEASURE = re.compile(
    r'\d[\d.,]* ?(?:m2|m\u00b2|m|km2?|ha|cm|px|sqm|ft|metres?|meters?|kilomet(?:er|re)s?|feet|yards?|miles?|acres?|'
    r'hectares?|pixels?|degrees?|square \w+|\u00b0|%)(?!\w)',
    re.IGNORECASE,
)
# A comparison with another thing, but not with a measure.
COMPARED = re.compile(
    r'\b(?:bigger|larger|smaller|greater|longer|shorter|wider|narrower|taller|higher|lower|brighter|darker|older|'
    r'newer) than (?!\d)|\b(?:similar in size to|the same size as|as (?:big|large|small|long|tall|high|wide) as)\b',
    re.IGNORECASE,
)
_ENDS = 'north|south|east|west|left|right|upper|lower|top|bottom'
# What is decided by counting or by comparing what nobody measures.
RANKED = re.compile(
    r'\b(?:(?:second|third|fourth|fifth|first|last|\d+(?:st|nd|rd|th))(?![- ](?:aid|floor|class|hand|rail|storey|story|'
    r'level|generation|growth|order|tier|of|and)\b)(?= \w)|second-\w+|longest|shortest|widest|narrowest|tallest|'
    r'highest|lowest|oldest|newest|brightest|darkest|(?:center|centre|central|inner|outer|middle)most|'
    rf'the most (?!(?:{_ENDS})\w*\b)\w+|top {NUMBERS}|[A-Za-z]+ {NUMBERS} (?:larg|bigg|small)est)\b',
    re.IGNORECASE,
)
COUNT = re.compile(rf'^{NUMBERS} ')
MANY = re.compile(rf'^(?:the )?(?:all|both|every|each|{NUMBERS}) ')
# What names no thing that a window could be asked for.
NOTHING = re.compile(
    r'^(?:one|ones|thing|things|everything|anything|something|objects?|items?|it|all|area|areas|part|parts|half|section|'
    r'region|side|corner|end|rest|others?|stuff|degrees?|latitude|longitude|equator)$|\bones?$'
)
UNKNOWN = re.compile(
    r'\b(?:than|similar|same|between|beneath|underneath|behind|opposite|except\w*|exclud\w+|besides|apart|but|or|not|'
    r"\w+n't|cannot|no|none|neither|nor|never|either|without (?:the|that|those)|almost|more|most|less|least|fewer|has|"
    r'have|having|contains?|containing|other|another|remaining|both|half|halves|quarter|outer|inner|nearer|closer|'
    rf'farther|further|i|you|we|they|rows?|columns?|(?:groups?|clusters?|sets?) of {NUMBERS})\b'
)
LOOKS = ('dark', 'light', 'long', 'slender', 'oval', 'round', 'rounded', 'rectangular', 'square', 'circular')
# 'The red car and the blue one', but one thing that is red and white, or has a wake.
TOGETHER = re.compile(r' and (?:the|an?|all|every|each) ')
AND = re.compile(rf'\b(?!(?:{"|".join((*COLOURS, *LOOKS))}) and )[\w-]+ and (?!(?:its?|their) )')
