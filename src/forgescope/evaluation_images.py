"""The images of an evaluation on its page: a row for each, pictures inside the page or in a folder beside it."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from forgescope.evaluation.results import Skipped

from .html_report import legends
from .journal import Row, write_whole
from .page_template import fill_template
from .photograph_table import Entry, Pictures, entry_of, histogram_of, optional_columns, photograph_table
from .report_pictures import INLINED_EDGE, MOST_INLINED, THUMBNAIL_EDGE, data_address, link, reduced, webp
from .report_pictures import LAYERS as RUN_LAYERS

# Images of a page; it takes half a second to open with so many.
MOST_SHOWN = 2000
PICTURES_SUFFIX = "_pictures"
# What lies over a photograph, in the order of the choices.
LAYERS = {"overlay": RUN_LAYERS["overlay"], "compared": "Found and missed"} | RUN_LAYERS | {"truth": "True mask"}
MISSED, FALSE_ALARM = "missed", "false alarm"


class ImageBook:
    """The images of a run, as the page of the evaluation shows them; those after the first `MOST_SHOWN` are counted.

    Args:
        page: file of the page. With more than `MOST_INLINED` images, their pictures are written into a folder beside
            it, reduced; else the page holds them.
        total: number of images.
        editors: that the checkpoint tells apart.
    """

    def __init__(self, page: Path, total: int, editors: Sequence[str] = ()):
        self.folder = page.with_name(page.stem + PICTURES_SUFFIX) if total > MOST_INLINED else None
        self.editors = tuple(editors)
        self.rows: list[Row] = []
        self.entries: list[Entry] = []
        self.pictures: dict[int, Pictures] = {}
        self.left_out = 0

    @property
    def full(self) -> bool:
        """Whether further images are only counted."""
        return len(self.entries) >= MOST_SHOWN

    def keep(self, row: Row, drawn: Mapping[str, Image.Image], facts: Row) -> None:
        """Keep an image.

        Args:
            row: as of `ForgeryReport.to_dict`.
            drawn: `photo`, and what lies over it by the keys of `LAYERS`.
            facts: `truth`, `outcome`, `subset`, `f1`, `iou` and `reference` where they are known.

        Raises:
            OSError: a picture cannot be written.
        """
        number = len(self.entries)
        reduced_ = {kind: reduced(picture, INLINED_EDGE) for kind, picture in drawn.items()}
        small = reduced(reduced_.get("overlay", reduced_["photo"]), THUMBNAIL_EDGE)
        self.rows.append(row | {"error": None})
        entry = entry_of(self.rows[-1], self.editors, (data_address(webp(small)), small.size))
        self.entries.append(entry | facts)
        photo = self._address(number, "photo", reduced_["photo"])
        layers = [
            {"kind": kind, "name": name, "source": self._address(number, kind, reduced_[kind])}
            for kind, name in LAYERS.items()
            if kind in reduced_
        ]
        self.pictures[number] = {"photo": photo, "layers": layers}

    def add_failures(self, skipped: Sequence[Skipped]) -> None:
        """Keep images that could not be scored."""
        for one in skipped:
            empty = dict.fromkeys(("verdict", "score", "forged_fraction"))
            self.rows.append({"path": one.name, "error": one.reason, **empty})
            self.entries.append(entry_of(self.rows[-1]))

    def section(self, sentences: Sequence[str]) -> str:
        """Write histogram and images as markup for `evaluation_page`.

        Args:
            sentences: what a reader should know of the images, beside what the colours mean.
        """
        thresholds = next((row["thresholds"] for row in self.rows if row.get("thresholds")), None)
        columns = optional_columns(self.rows, self.editors)
        shown = [f"{self.left_out} further images are not shown."] * bool(self.left_out)
        said = [*shown, *legends(self.rows, columns), *sentences]
        wrong = sum(bool(entry.get("outcome")) for entry in self.entries)
        box = f'<label><input type="checkbox" id="wrong"> only wrong verdicts {wrong}</label>'
        judged = any(entry.get("truth") for entry in self.entries)
        return fill_template(
            "evaluation_images.html",
            legend=html.escape(" ".join(said)),
            histogram=histogram_of(self.entries, thresholds),
            table=photograph_table(
                self.entries,
                self.pictures,
                thresholds,
                columns,
                box if judged else "",
            ),
        )

    def _address(self, number: int, kind: str, picture: Image.Image) -> str:
        """Put a picture into the page, or into the folder beside it."""
        content = webp(picture)
        if self.folder is None:
            return data_address(content)
        self.folder.mkdir(parents=True, exist_ok=True)
        file = write_whole(self.folder / f"{number:06d}_{kind}.webp", content)
        return link(str(file), self.folder.parent)


def outcome_of(verdict: str | None, positive: bool) -> str | None:
    """Name a verdict that is wrong; None: it is right, or there is none.

    Args:
        verdict: `forged`, `inconclusive` or `authentic`.
        positive: whether the image is forged, or fake.
    """
    if positive:
        return MISSED if verdict == "authentic" else None
    return FALSE_ALARM if verdict == "forged" else None
