"""Result files: one JSON for each machine, in sections that each say when and from what commit they were measured."""

import datetime
import json
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.peers import versions
from nwavesdk.analysis.bench import machine_facts, machine_name

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks" / "results"
SCHEMA = 1


def path() -> Path:
    """The file of this machine."""
    return FOLDER / machine_name() / "results.json"


def read(file: Path) -> dict[str, Any]:
    """The results, or none yet.

    Raises:
        ValueError: the file is of another schema.
    """
    if not file.is_file():
        return {"schema": SCHEMA, "machine": machine_name(), "sections": {}}
    results = json.loads(file.read_text(encoding="utf-8"))
    if results.get("schema") != SCHEMA:
        raise ValueError(
            f"{file} has schema {results.get('schema')}, expected {SCHEMA}: move it away and run again."
        )
    return results


def write(file: Path, results: dict[str, Any]) -> None:
    """Write them, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draft.replace(file)


def provenance(command: str) -> dict[str, Any]:
    """Date, commit, machine and versions of what is measured now."""
    told = machine_facts()
    told["versions"] |= versions()
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!benchmarks/README.md")
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(changed),
        **told,
    }


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()
