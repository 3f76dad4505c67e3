"""What was found: rows, for people and as JUnit's XML for machines."""

from typing import NamedTuple
from xml.etree import ElementTree

PASSED, NOTED, FAILED, CRASHED, HUNG, SKIPPED = "passed", "noted", "failed", "crashed", "hung", "skipped"


class Row(NamedTuple):
    """One case: what became of it, and what there is to say."""

    case: str
    verdict: str
    detail: str
    seconds: float

    @property
    def wrong(self) -> bool:
        """Whether a library with this row should not be used."""
        return self.verdict in (FAILED, CRASHED, HUNG)


class Verification(NamedTuple):
    """All cases of one library."""

    library: str
    path: str
    version: str
    kernels: str
    rows: list[Row]

    @property
    def right(self) -> bool:
        """Whether nothing was wrong."""
        return not any(row.wrong for row in self.rows)


def as_junit(verifications: list[Verification]) -> str:
    """A JUnit file: a suite for each library, a test case for each row."""
    root = ElementTree.Element("testsuites", name="mlkit blas verify")
    for found in verifications:
        wrong = [row for row in found.rows if row.wrong]
        suite = ElementTree.SubElement(
            root, "testsuite", name=found.library, tests=str(len(found.rows)),
            failures=str(sum(row.verdict == FAILED for row in wrong)),
            errors=str(sum(row.verdict != FAILED for row in wrong)), skipped=str(sum(row.verdict == SKIPPED for row in found.rows)),
            time=f"{sum(row.seconds for row in found.rows):.3f}",
        )  # fmt: skip
        properties = ElementTree.SubElement(suite, "properties")
        for name in ("path", "version", "kernels"):
            ElementTree.SubElement(properties, "property", name=name, value=str(getattr(found, name)))
        for row in found.rows:
            entry = ElementTree.SubElement(suite, "testcase", classname=found.library, name=row.case, time=f"{row.seconds:.3f}")
            if row.verdict == SKIPPED:
                ElementTree.SubElement(entry, "skipped", message=row.detail)
            elif row.wrong:
                ElementTree.SubElement(entry, "failure" if row.verdict == FAILED else "error", message=row.detail, type=row.verdict)
            else:
                ElementTree.SubElement(entry, "system-out").text = row.detail
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
