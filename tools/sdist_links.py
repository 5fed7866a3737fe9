"""A build hook of hatchling: the links of the package `salesgauge` stay links in the source distribution.

Hatchling follows links to folders, so the archive would hold every room twice and a correction to one copy would not
reach the other. The hook leaves out what lies behind a link and stores the link.
"""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "salesgauge"


class LinkHook(BuildHookInterface[Any]):
    """Rewrites the archive that hatchling has made."""

    PLUGIN_NAME = "custom"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Replace what lies behind the package's links by the links."""
        del version, build_data
        archive = Path(artifact_path)
        store_links(archive, links(Path(self.root), PACKAGE))


def links(root: Path, package: str) -> dict[str, str]:
    """The links below a folder: path relative to the root -> target as the link names it."""
    found = {}
    for folder, folders, files in os.walk(root / package):
        for path in (Path(folder, name) for name in folders + files):
            if path.is_symlink():
                found[path.relative_to(root).as_posix()] = os.readlink(path)  # noqa: PTH115  as it is written
    return found


def store_links(archive: Path, targets: dict[str, str]) -> None:
    """Rewrite a `.tar.gz`, so that each of these paths below its top folder is a link.

    The same input gives the same bytes: times are those of the archive's own entries.
    """
    draft = archive.with_suffix(".draft")
    with tarfile.open(archive) as old:
        entries = old.getmembers()
        top = PurePosixPath(entries[0].name).parts[0]
        stored = {f"{top}/{path}": target for path, target in targets.items()}
        newest = max(int(entry.mtime) for entry in entries)
        with (
            draft.open("wb") as raw,
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=newest) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
        ):
            for entry in entries:
                if not any(entry.name == path or entry.name.startswith(f"{path}/") for path in stored):
                    new.addfile(entry, old.extractfile(entry) if entry.isfile() else None)
            for path, target in sorted(stored.items()):
                new.addfile(_link(path, target, newest))
    draft.replace(archive)


def _link(path: str, target: str, changed: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.type, entry.linkname, entry.mtime, entry.mode = tarfile.SYMTYPE, target, changed, 0o777
    return entry
