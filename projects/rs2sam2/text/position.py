"""Whether a referring expression says where its object is.

Three steps: what names the picture ("in the image") becomes a mark, words that only look like places are taken out
("shopping center", "right of way", "north-facing"), and what is left is searched for places and relations.
"""

import re

FRAME = '@'  # what the picture is called, in its place
_FRAMES = r'(?:image|picture|photo|photograph|scene|frame|view|map|tile|screen|orthophoto|mosaic)s?'
IN_FRAME = re.compile(
    rf"\b(?:in|inside|on|of|from|within|across|throughout|over)\s+(?:(?:the|this|that|each|every|an?|our)\s+)?"
    rf'(?:(?:whole|entire|full|given|aerial|satellite|input|current)\s+)?{_FRAMES}\b'
    rf'|\b{_FRAMES}(?=\s+(?:edge|border|margin))',
    re.IGNORECASE,
)  # fmt: skip
NAME = re.compile(
    r'(?<![.!?]\s)(?:^|\b)(?:North|South|East|West|Upper|Lower|Central|Middle)(?:ern)?'
    r'(?![ -](?:Left|Right|Side|Corner|Edge|Half|Part|End)\b)(?:[ -][A-Z][a-z]+)+'
)
_TITLE = re.compile(r'\s(?:In|On|Of|At|To|The|And|From)\s')
_WIND = r'(?:north|south|east|west)'
_WINDS = rf'(?:{_WIND}(?:[- ]?{_WIND})?)'
_CENTRES = (
    'art|business|call|city|commercial|community|conference|control|convention|cultural|data|detention|distribution|'
    'education|exhibition|fitness|garden|health|leisure|logistics|medical|recycling|research|retail|service|shopping|'
    'sorting|sports?|town|training|transport|urban|village|visitors?|wellness|youth'
)
# What stands up or goes down: its top and bottom are no places in a picture from above.
_UPRIGHT = (
    'antenna|building|canyon|chimney|cliff|crane|dam|dune|gorge|hill|house|lake|mast|mountain|ocean|pile|pit|pond|pool|'
    'quarry|ridge|river|roof|sea|shaft|silo|slope|stairs|stack|tank|tower|tree|truck|turbine|valley|volcano|wall|well'
)
_MEASURED = (
    'albedo|biomass|brightness|contrast|cost|coverage|density|elevation|growth|height|humidity|moisture|ndvi|number|'
    'population|quality|rate|reflectance|resolution|share|speed|temperature|than|value|vegetation|yield'
)
_SIDE_NOUN = (
    r'(?:hand )?(?:sides?|half|part|edge|border|boundary|corner|margin|end|third|quarter|portion|section|region|area|'
    r'zone|bank|shore|ones?|most|row|column)'
)
NO_PLACE = re.compile(
    '|'.join(
        (
            r'north[- ]south|south[- ]north|east[- ]west|west[- ]east',
            rf'\bfrom (?:the )?{_WINDS} to (?:the )?{_WINDS}',
            rf'\b{_WINDS}(?:ern)?[- ]?(?:facing|bound|oriented|expos(?:ed|ures?)|sloping|arrow)',
            rf'\b(?:leading|going|running|flowing|moving|driving|sailing) {_WINDS}(?:wards?)?\b(?! of\b)',
            rf'\b{_WINDS}[- ]?(?:american|african|european)',
            rf'\b(?:facing|oriented|exposed|sloping|pointing|heading)(?: to(?:wards?)?)?(?: the)? {_WINDS}(?:wards?)?',
            rf'\b(?:{_CENTRES})[- ]cent(?:er|re)s?',
            r'\bcent(?:er|re)[- ]?(?:pivots?|lines?|strips?|lanes?|circles?|islands?)',
            r'\bcentral (?:reservation|station|park|bank|heating|business)',
            r'\bmiddle[- ](?:schools?|class|ages)|\bmiddle-aged|\bbottom sediments?',
            rf'\b{_WIND}ern (?:(?:red|white|black) )?(?:cedar|pine|oak|spruce|larch|hemlock)s?',
            r'\bwith (?:(?:its|their) (?:[\w-]+ )*?|(?:an?|the) (?:(?!(?:in|on|at|to)\b)[\w-]+ )*?)'
            rf'(?:left|right|top|bottom)s?\b(?! {_SIDE_NOUN}| of\b)',
            r'\btop (?:\d+|three|four|five|ten|twenty)\b',
            r'\b(?:upper|lower|top|bottom)[- ](?:class|decks?|floors?|storeys?|stor(?:y|ies)|levels?|layers?|canop\w+)',
            rf'\b(?:upper|lower)\s+(?:\w+\s+)?(?:{_MEASURED})\b',
            r'\brights?[- ]of[- ]way|\bright[- ]angle[ds]?',
            r'\b(?:left|right)[- ](?:turn\w*|lanes?|wings?|arms?|bends?|ramps?)',
            r'\b(?:left|right)-?handed\b|\bturn(?:s|ing)? (?:left|right)\b|\bleft[- ]?overs?\b',
            r'\b(?:what|all that|nothing|little|much)(?: is|\'s| was| remains)? left\b(?: of)?',
            r'\bon top of\b|\bflat[- ]top\w*|\b(?:big|hill|mountain|roof|table|tree|cliff)[- ]?tops?\b',
            r'\btop[- ]?(?:soils?|down|views?)\b',
            rf'\b(?:top|bottom) of (?:the |a |an |its |each )?(?:\w+ )?(?:{_UPRIGHT})s?\b(?! of)',
            r'\b(?:river|valley|lake|sea|ocean)[- ]bottoms?|\bbottom ?lands?',
            r'\b(?:above|below)[- ](?:-?\d[\d.,]*|ground|grade|water|sea|zero|normal)\b',
            r'\b(?:above|below) (?:the )?(?:average|mean|median|threshold)\b',
            r'\bnear-\w+|\bnearly\b|\bnear (?:infrared|vertical|ir)\b',
            r'\bcorner (?:house|lot|shop|store|building|plot|flat|parcel)s?|\bstreet corners?',
            r'\bon (?:the|a|every|each) corners?\b',
            r'\bopposite (?:direction|colou?r)s?',
        )
    ),
    re.IGNORECASE,
)  # fmt: skip
_BEFORE = r'(?:the|at|on|in|to|from|very|most|far|extreme|exact|slightly|further|and|or)[\s-]+'
_PLACE = re.compile(
    '|'.join(
        (
            # Sides, corners and the middle of the picture, or of a group.
            r'\b(?:upper|lower|top|bottom|middle|cent(?:er|re))[\s-]*(?:left|right)',
            r'\b(?:left|right)[\s-]+(?:top|bottom|upper|lower|middle|cent(?:er|re))\b',
            rf'\b{_BEFORE}(?:left|right|top|bottom|upper|lower|middle|cent(?:er|re))\b',
            r'^(?:left|right|top|bottom|upper|lower|middle|cent(?:er|re)|central)\b',
            r'[\s,(:;/+](?:left|right|top|bottom|upper|lower|middle|cent(?:er|re))[\s.,;!?)]*$',
            rf'\b(?:left|right|top|bottom|upper|lower|middle|central)[- ]{_SIDE_NOUN}\b',
            r'\b(?:the|an?) (?:\w+ )?(?:upper|lower|central)\b|\bcentrally\b',
            r'\b(?:two|three|four|five|\d+) (?:left|right|upper|lower) [a-z]+s\b',
            r'\b(?:left|right) of\b|\b(?:left|right) (?:to|from) (?:the|an?)\b',
            # Coordinates.
            r'\bat,? (?:pixels? |position |coordinates? |point )?\(?-?\d[\d.]*\s?\u00b0?\s?[NESW]?[,;\s]\s*-?\d',
            r'\b(?:left|right|top|bottom|upper|lower|outer|inner|fore|rear|hind)[- ]?most\b',
            rf'\b(?:edge|border|margin|boundary|corner|side|periphery)s?\s*{FRAME}|{FRAME}\s*(?:edge|border|margin)',
            r'\bin (?:the|a|each|every|one) (?:[\w-]+ )?corners?\b|\bcorner of\b',
            r'\bin the (?:back|fore)ground\b',
            # Points of the compass.
            rf'\b{_WINDS}(?:ern|erly)?(?:most|wards?)?(?:side)?\b',
            # Beside, beyond, between other things.
            r'\b(?:above|below|beside|between|behind|beyond|alongside|near|nearby|nearest|closest|farthest|furthest)\b',
            r'\b(?:next|adjacent|close|closer|opposite) to\b|\b(?:adjoining|neighbou?ring|abutting|bordering)\b',
            r'\bopposite\b(?! (?:ends?|sides?)\b)|\bin front of\b|\b(?:in|at) the (?:front|back|rear)\b|\bahead of\b',
            r'\b(?:far|further|farther|away) (?:away )?from\b|\bacross (?:\w+ ){0,4}from\b',
            r'\bout(?:side|skirts) (?:of )?(?:the|a)\b',
            r'\bwithin (?:about )?[\d.,]+ ?(?:m|km|metres?|meters?|feet|ft|yards?|miles?)\b',
            r'\b[\d.,]+ ?(?:m|km|metres?|meters?|feet|ft|yards?|miles?) (?:away |off )?(?:from|of)\b',
            r'\bon (?:the|this|that|each|either|both|one|opposite) (?:\w+ )?sides? of\b',
            r'\bat the (?:\w+ )?(?:end|tip|beginning|start) of\b|\b(?:up|down)stream\b|\bo[\'’]? ?clock\b',
        )
    ),
    re.IGNORECASE,
)  # fmt: skip
_SHORT_WIND = re.compile(r'\b(?:NE|NW|SE|SW)\b|\b[NESW]\.? of\b')
# "The ship is lying in the harbor" tells it by its place; "ships in the harbor" says what kind of ships.
_IS_IN = re.compile(
    r'^(?!.*\b(?:that|which|who)\b).*\b(?:is|are) (?:\w+(?:ed|ing) )?(?:in|inside|on|at|through|within) (?:the|an?)\b',
    re.IGNORECASE,
)


def untitled(text: str) -> str:
    """The text in small letters if it is written as titles are: 'The Ship In The Upper Left' names no place."""
    return text.lower() if _TITLE.search(text) and not re.search(r'\b[a-z]{3,}', text) else text


def uses_position(text: str) -> bool:
    """Whether a sentence says where its object is: a part of the picture, or where it lies from another thing.

    A place that makes a kind of object is none ("solar panels on the roof", "cars parked on the street"), nor is a
    comparison of sizes, nor "in the picture". English only.
    """
    said = NAME.sub(' ', IN_FRAME.sub(f' {FRAME} ', untitled(' '.join(text.split()))))
    if _SHORT_WIND.search(said):
        return True
    said = ' '.join(NO_PLACE.sub(' _ ', said).split())
    return bool(_PLACE.search(said.removesuffix(f' {FRAME}')) or _PLACE.search(said) or _IS_IN.search(said))
