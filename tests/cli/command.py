"""Running the command `nwave` in this process, for tests."""

import json
from typing import Any

from typer.testing import CliRunner, Result

from nwavesdk.cli import app


def nwave(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def succeeded(*words: object) -> Result:
    """The result of a command that must succeed."""
    result = nwave(*words)
    assert result.exit_code == 0, result.output
    return result


def json_object(result: Result) -> dict[str, Any]:
    """The one JSON object on standard output."""
    value, end = json.JSONDecoder().raw_decode(result.stdout)
    assert not result.stdout[end:].strip()
    return value


def rejected(*words: object) -> str:
    """The one line on standard error of a command that rejects its words."""
    result = nwave(*words)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr
