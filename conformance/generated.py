"""Documents of which a program writes a part: between `<!-- PART: generated -->` and `<!-- PART: end -->`."""

from __future__ import annotations

from pathlib import Path


def write(document: Path, part: str, content: str) -> None:
    """Replaces what stands between the part's markers. SystemExit where there are none."""
    begin, end = f"<!-- {part}: generated -->", f"<!-- {part}: end -->"
    before, _, rest = document.read_text(encoding="utf-8").partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{document} has no {begin} … {end}")
    document.write_text(f"{before}{begin}\n\n{content}\n\n{end}{after}", encoding="utf-8")
