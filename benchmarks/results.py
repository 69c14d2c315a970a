"""Result files: one JSON per machine, in sections with the date and commit of the measurement."""

import datetime
import json
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.instrument import machine_facts, machine_name
from benchmarks.peers import versions

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks" / "results"
SCHEMA = 1


def path() -> Path:
    """Return the file of this machine."""
    return FOLDER / machine_name() / "results.json"


def read(file: Path) -> dict[str, Any]:
    """Return the results of a file, or empty ones if there is no file.

    Raises:
        ValueError: If the file has another schema.
    """
    if not file.is_file():
        return {"schema": SCHEMA, "machine": machine_name(), "sections": {}}
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if results.get("schema") != SCHEMA:
        raise ValueError(
            f"{file} has schema {results.get('schema')}, expected {SCHEMA}: "
            "move it to another place and run again."
        )
    return results


def write(file: Path, results: dict[str, Any]) -> None:
    """Write results, completely or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draft.replace(file)


def provenance(command: str) -> dict[str, Any]:
    """Return date, commit, machine and versions of the current measurement."""
    facts = machine_facts()
    facts["versions"] |= versions()
    outputs = (":!benchmarks/results", ":!benchmarks/README.md")
    changed = _git("status", "--porcelain", "--", ".", *outputs)
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(changed),
        **facts,
    }


def _git(*words: str) -> str:
    process = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    return process.stdout.strip()
