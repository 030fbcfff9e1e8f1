"""Equal files found by their hash, in a database on disk: memory does not grow with the corpus."""

import sqlite3
from dataclasses import dataclass

# Groups of equal images named in a report, and members named of each.
MAX_GROUPS = 20
MAX_MEMBERS = 5
# Rows written at once.
BATCH = 1000


@dataclass(frozen=True)
class Duplicates:
    """Rows whose image file is equal, byte by byte, to that of an earlier row.

    Args:
        distinct: number of different files.
        rows: rows beyond the first of each group.
        groups: groups of equal files.
        across_splits: groups with rows in several splits.
        across_labels: groups with real and fake rows.
        examples: first groups, those across splits before others; each a list of `split: id`.
    """

    distinct: int
    rows: int
    groups: int
    across_splits: int
    across_labels: int
    examples: list[list[str]]


class DuplicateFinder:
    """Collects hashes of files."""

    def __init__(self) -> None:
        # an empty name is a temporary database that goes to disk as it grows and is removed when closed
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("CREATE TABLE files (digest BLOB, split TEXT, label TEXT, id TEXT)")
        self._waiting: list[tuple[bytes, str, str, str]] = []

    def add(self, digest: bytes, split: str, label: str, row_id: str) -> None:
        """Note the hash of a row's image file."""
        self._waiting.append((digest, split, label, row_id))
        if len(self._waiting) >= BATCH:
            self._flush()

    def find(self) -> Duplicates:
        """Group equal hashes; nothing can be added afterwards."""
        self._flush()
        run = self._database.execute
        run(
            "CREATE TABLE groups AS SELECT digest, COUNT(*) AS members, COUNT(DISTINCT split) AS splits, "
            "COUNT(DISTINCT label) AS labels, MIN(rowid) AS first FROM files GROUP BY digest"
        )
        distinct, rows, groups, across_splits, across_labels = run(
            "SELECT COUNT(*), COALESCE(SUM(members - 1), 0), COALESCE(SUM(members > 1), 0), "
            "COALESCE(SUM(splits > 1), 0), COALESCE(SUM(labels > 1), 0) FROM groups"
        ).fetchone()
        chosen = run(
            "SELECT digest FROM groups WHERE members > 1 ORDER BY splits > 1 DESC, labels > 1 DESC, first LIMIT ?",
            (MAX_GROUPS,),
        ).fetchall()
        if chosen:
            run("CREATE INDEX by_digest ON files (digest)")
        members = "SELECT split || ': ' || id FROM files WHERE digest = ? ORDER BY rowid LIMIT ?"
        examples = [[name for (name,) in run(members, (digest, MAX_MEMBERS))] for (digest,) in chosen]
        self._database.close()
        return Duplicates(distinct, rows, groups, across_splits, across_labels, examples)

    def _flush(self) -> None:
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO files VALUES (?, ?, ?, ?)", self._waiting)
        self._database.execute("COMMIT")
        self._waiting.clear()


__all__ = ["DuplicateFinder", "Duplicates"]
