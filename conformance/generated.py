"""Documents of which a program writes a part: between `<!-- PART: generated -->` and `<!-- PART: end -->`."""

from __future__ import annotations

from pathlib import Path


def read(document: Path, part: str) -> str:
    """What stands between the part's markers. SystemExit where there are none."""
    return _split(document, part)[1].strip("\n")


def write(document: Path, part: str, content: str) -> None:
    """Replaces what stands between the part's markers. SystemExit where there are none."""
    before, _, after = _split(document, part)
    document.write_text(f"{before}\n\n{content}\n\n{after}", encoding="utf-8")


def _split(document: Path, part: str) -> tuple[str, str, str]:
    """The text up to the part, with its first marker; the part; the rest."""
    begin, end = f"<!-- {part}: generated -->", f"<!-- {part}: end -->"
    before, _, rest = document.read_text(encoding="utf-8").partition(begin)
    content, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{document} has no {begin} … {end}")
    return before + begin, content, end + after
