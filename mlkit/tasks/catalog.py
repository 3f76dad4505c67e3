"""Every case study by its name."""

from . import classify, detect, draw, go, spam, speech, text
from .study import Study

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        classify.DIGITS, classify.IMAGES, spam.SPAM, speech.SPEECH, go.GO, text.TEXT, draw.DRAW, detect.DETECT,
    )
}  # fmt: skip
