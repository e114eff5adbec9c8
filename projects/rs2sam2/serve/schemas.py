"""What the service takes and answers: the OpenAPI document is made of these."""

from typing import Annotated, Literal

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.json_schema import SkipJsonSchema

from rs2sam2.symmetry import SYMMETRIES

MOST_EXPRESSIONS = 32
Expression = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_NUMBER = r'[0-9]{1,9}(\.[0-9]{1,9})?'
Box = Annotated[str, StringConstraints(pattern=rf'^{_NUMBER}(,{_NUMBER}){{3}}$')]
Point = Annotated[str, StringConstraints(pattern=rf'^{_NUMBER},{_NUMBER}(,[01])?$')]
_NAMES = '|'.join(SYMMETRIES)
Turned = Annotated[str, StringConstraints(max_length=200, pattern=rf'^(all|({_NAMES})(,({_NAMES}))*)$')]
# In a form a field is there or not; it is never null.
NotGiven = SkipJsonSchema[None]
State = Literal['queued', 'running', 'done', 'failed', 'cancelled']
TURNED = 'Average over turned copies: "all", or names of symmetries with commas between.'


class Problem(BaseModel):
    """Why nothing was done."""

    error: str = Field(description='One line: what, and the way out.')


class Image(BaseModel):
    """An image and what to segment in it."""

    model_config = ConfigDict(extra='forbid')

    image: UploadFile = Field(description='PNG, JPEG, TIFF ... with 8 bits a channel.')
    expression: list[Expression] = Field(
        min_length=1, max_length=MOST_EXPRESSIONS, description='What to segment; more than once for several.'
    )
    format: Literal['rle', 'png', 'geojson'] = Field(
        'rle',
        description="JSON with COCO's RLE; a PNG, 255 on the target, of a single expression; or GeoJSON along pixel "
        'edges, in pixels, x to the right and y down.',
    )
    box: Box | NotGiven = Field(None, description='Refine by a box in pixels: X0,Y0,X1,Y1.')
    point: list[Point] = Field(
        default_factory=list, max_length=64, description='Refine by a point on the target, X,Y, or beside it, X,Y,0.'
    )
    min_score: Score | NotGiven = Field(None, description='A mask whose score is below is emptied.')
    tta: Turned | NotGiven = Field(None, description=TURNED)


class Rle(BaseModel):
    """COCO's compressed run-length encoding."""

    size: list[int] = Field(description='Height and width.')
    counts: str


class Found(BaseModel):
    """What was found for one expression."""

    expression: str
    segmentation: Rle
    bbox: list[int] = Field(description='x, y, width, height in pixels.')
    area: int = Field(description='Pixels of the mask.')
    score: float
    score_kind: str
    presence: float | None
    predicted_iou: float | None
    empty: bool
    reason: str | None = Field(description='Why the mask is empty.')
    precision: str
    notes: list[str]
    averaged_over: list[str]


class Segmentation(BaseModel):
    """The answer for an image: one entry an expression, in the order in which they were asked."""

    width: int
    height: int
    results: list[Found]
    trained_on: str | None = Field(description='What the model learned from; on other pictures it finds little.')


class SceneOptions(BaseModel):
    """How a scene is segmented; `rs2sam2 scene` has the same options."""

    model_config = ConfigDict(extra='forbid')

    expression: Expression = Field(description='What to segment.')
    polygons: Literal['gpkg', 'geojson'] = Field('gpkg', description='Format of the polygons.')
    probability: bool = Field(False, description='Write the probabilities, too.')
    scope: Literal['auto', 'meaning', 'scene', 'window'] = Field(
        'auto',
        description='What decides: the meaning of the words among all objects, the reduced scene, or each window by '
        'itself; auto: by the words.',
    )
    window: Annotated[int, Field(ge=32, le=8192)] | NotGiven = Field(None, description='Side of a window in pixels.')
    overlap: float = Field(0.25, ge=0, le=0.5, allow_inf_nan=False, description='Share that neighbours both see.')
    gsd: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | NotGiven = Field(
        None, description="Metres a pixel to resample to; else the model's own, or the scene's."
    )
    bands: Annotated[str, StringConstraints(pattern=r'^[0-9]{1,4}(,[0-9]{1,4},[0-9]{1,4})?$')] | NotGiven = Field(
        None, description='Three band numbers from 1 on with commas between, or one.'
    )
    nodata: Annotated[float, Field(allow_inf_nan=False)] | NotGiven = Field(
        None, description="Value of pixels without data; else the scene's own."
    )
    min_score: Score | NotGiven = Field(None, description='A mask whose score is below is emptied.')
    min_area: Annotated[str, StringConstraints(pattern=rf'^{_NUMBER}(m2)?$')] | NotGiven = Field(
        None, description='Leave out smaller polygons: 20 (pixels) or 50m2.'
    )
    simplify: Annotated[str, StringConstraints(pattern=rf'^{_NUMBER}m?$')] | NotGiven = Field(
        None, description='Simplify outlines by about so much: 1.5 (pixels) or 2m.'
    )
    tta: Turned | NotGiven = Field(None, description=TURNED)


class Scene(SceneOptions):
    """A scene and what to segment in it: its path, or the GeoTIFF itself."""

    model_config = ConfigDict(
        extra='forbid', json_schema_extra={'oneOf': [{'required': ['path']}, {'required': ['scene']}]}
    )

    path: Annotated[str, StringConstraints(min_length=1, max_length=4096)] | NotGiven = Field(
        None, description='A file below a folder that the server may read.'
    )
    scene: UploadFile | NotGiven = Field(None, description='A GeoTIFF.')


class SceneFound(BaseModel):
    """What is said of a scene's result."""

    objects: int = Field(description='Number of polygons.')
    score: float | None = Field(description='None where nothing is foreground.')
    score_kind: str
    rejected: bool = Field(description='The score is below min_score: mask and polygons are empty.')
    scope: Literal['meaning', 'scene', 'window'] = Field(description='What decided where the object is.')
    shape: tuple[int, int] = Field(description='Rows and columns.')
    window: tuple[int, int] = Field(description='Height and width of a window.')
    windows_run: int
    windows_skipped: int
    foreground_pixels: int
    valid_pixels: int
    notes: list[str]
    trained_on: str | None


class JobAnswer(BaseModel):
    """A scene's job."""

    id: str
    state: State
    progress: float = Field(description='Finished share of the windows, 0 to 1.')
    scene: str = Field(description='The path or name under which it was given.')
    options: SceneOptions
    created: str
    started: str | None
    ended: str | None
    error: str | None = Field(description='Why it failed.')
    result: SceneFound | None
    files: dict[str, str] = Field(description='Addresses of mask, polygons and, where asked for, probability.')


class Jobs(BaseModel):
    """All jobs that are kept, the newest first."""

    jobs: list[JobAnswer]


class Health(BaseModel):
    """Whether the service answers."""

    status: Literal['ok']
    version: str
    api: int = Field(description='Changes where a client that spoke to the one before would not be understood.')


class Model(BaseModel):
    """The model of this service."""

    name: str
    weights: str
    device: str
    precision: str
    trained_on: str | None
    takes_points: bool
    window: int = Field(description='Side of the windows that scenes are cut into.')
    gsd: float | None = Field(description='Metres a pixel that it was trained at.')
    roots: list[str] = Field(description='Folders below which scenes may be named by their path.')
