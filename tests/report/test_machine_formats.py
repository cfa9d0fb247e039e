"""JSON, SARIF and GitHub workflow commands."""

from __future__ import annotations

import json as standard_json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lora_lint.findings import Finding
from lora_lint.report import github, json, sarif
from lora_lint.report.model import RunReport
from tests.report.conftest import at

SCHEMA = Path(__file__).parent.parent / "data" / "sarif" / "sarif-schema-2.1.0.json"


def _json(report: RunReport) -> Any:
    return standard_json.loads(json.render(report))


def _sarif(report: RunReport) -> Any:
    document = standard_json.loads(sarif.render(report))
    jsonschema.validate(document, standard_json.loads(SCHEMA.read_text(encoding="utf-8")))
    return document


def test_json_object(report: RunReport) -> None:
    assert _json(report)[1] == {
        "code": "LL103",
        "name": "freeze-after-injection",
        "severity": "error",
        "message": "`model` is frozen after the adapter was injected: nothing of it trains",
        "path": "src/train.py",
        "line": 7,
        "column": 1,
        "end_line": 7,
        "end_column": 28,
        "help": "freeze `model` before get_peft_model",
        "related": [
            {
                "path": "src/train.py",
                "line": 5,
                "column": 9,
                "end_line": 5,
                "end_column": 38,
                "message": "adapter injected here",
            },
            {
                "path": "src/helpers.py",
                "line": 3,
                "column": 3,
                "end_line": 3,
                "end_column": 26,
                "message": "and frozen again here",
            },
        ],
        "fix": {
            "applicability": "unsafe",
            "title": "freeze before the injection",
            "edits": [
                {
                    "path": "src/train.py",
                    "line": 5,
                    "column": 1,
                    "end_line": 5,
                    "end_column": 1,
                    "text": "model.requires_grad_(False)\n",
                },
                {"path": "src/train.py", "line": 7, "column": 1, "end_line": 8, "end_column": 1, "text": ""},
            ],
        },
        "fingerprint": "f1",
        "url": "",
    }


def test_json_of_notebooks_counts_within_the_cell(report: RunReport) -> None:
    shown = _json(report)[0]
    assert (shown["cell"], shown["line"], shown["end_line"]) == (3, 2, 2)
    assert (shown["related"][0]["cell"], shown["related"][0]["line"]) == (2, 1)
    assert shown["fix"]["refused"] == "the line is shared with another statement"


def test_json_without_findings_is_an_empty_list() -> None:
    assert json.render(RunReport()) == "[]\n"


def test_sarif(report: RunReport) -> None:
    run = _sarif(report)["runs"][0]
    driver = run["tool"]["driver"]
    assert [rule["id"] for rule in driver["rules"]] == ["LL103", "LL206"]
    assert driver["rules"][0]["name"] == "FreezeAfterInjection"
    assert "The adapter learns nothing." in driver["rules"][0]["help"]["text"]
    result = run["results"][1]
    assert (result["ruleId"], result["level"]) == ("LL103", "error")
    assert driver["rules"][result["ruleIndex"]]["id"] == "LL103"
    assert result["partialFingerprints"] == {"loraLintFingerprint/v1": "f1"}
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "src/train.py", "uriBaseId": "%SRCROOT%"}
    assert place["region"] == {"startLine": 7, "startColumn": 1, "endLine": 7, "endColumn": 28}
    assert [other["message"]["text"] for other in result["relatedLocations"]] == [
        "adapter injected here",
        "and frozen again here",
    ]
    change = result["fixes"][0]["artifactChanges"][0]
    assert change["artifactLocation"]["uri"] == "src/train.py"
    assert [part["insertedContent"]["text"] for part in change["replacements"]] == ["model.requires_grad_(False)\n", ""]
    assert run["invocations"] == [{"executionSuccessful": True}]


def test_sarif_of_notebooks_points_at_the_cell_in_words(report: RunReport) -> None:
    result = _sarif(report)["runs"][0]["results"][0]
    assert result["level"] == "note"
    assert result["message"]["text"].startswith("cell 3, line 2: ")
    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "lab%201/50%25%2Ca%3Ab.ipynb", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 1},
    }
    assert "fixes" not in result


def test_sarif_says_when_the_run_failed(report: RunReport, frozen: Finding) -> None:
    invocation = _sarif(replace(report, errors=("gone.py: no such file",)))["runs"][0]["invocations"][0]
    assert invocation["executionSuccessful"] is False
    assert invocation["toolExecutionNotifications"][0]["message"]["text"] == "gone.py: no such file"
    crashed = replace(frozen, code="LL000", name="internal-error", fix=None)
    document = _sarif(replace(report, findings=(crashed,), fingerprints=("c",)))
    assert document["runs"][0]["invocations"][0]["executionSuccessful"] is False


def test_sarif_of_an_absolute_path_and_of_nothing(report: RunReport, frozen: Finding) -> None:
    away = replace(frozen, location=at("/data/a b.py", 1, 1, 2), related=(), fix=None)
    result = _sarif(replace(report, findings=(away,), fingerprints=("x",)))["runs"][0]["results"][0]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": "file:///data/a%20b.py"}
    assert _sarif(RunReport(version="0.1.0"))["runs"][0]["results"] == []


def _commands(report: RunReport) -> list[tuple[str, dict[str, str], str]]:
    """Workflow commands as the runner reads them."""
    parsed = []
    for line in github.render(report).splitlines():
        match = re.fullmatch(r"::(\w+) ([^:]*)::(.*)", line)
        assert match is not None, line
        properties = dict(part.split("=", 1) for part in match[2].split(","))
        parsed.append((match[1], {name: _unescape(value) for name, value in properties.items()}, _unescape(match[3])))
    return parsed


def _unescape(text: str) -> str:
    for escaped, plain in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(escaped, plain)
    return text


def test_github_commands(report: RunReport) -> None:
    notebook, frozen, in_eval = _commands(report)
    assert frozen[0] == "error"
    assert frozen[1] == {
        "title": "lora-lint LL103 (freeze-after-injection)",
        "file": "src/train.py",
        "line": "7",
        "endLine": "7",
        "col": "1",
        "endColumn": "28",
    }
    assert frozen[2] == (
        "src/train.py:7:1: LL103 `model` is frozen after the adapter was injected: nothing of it trains\n"
        "help: freeze `model` before get_peft_model"
    )
    assert in_eval[0] == "warning"
    assert "100% of dropout" in in_eval[2]
    assert notebook[0] == "notice"
    assert notebook[1]["file"] == "lab 1/50%,a:b.ipynb"
    assert notebook[1]["line"] == "1"
    assert "cell 3, line 2" in notebook[2]


@pytest.mark.parametrize("message", ["a::b,c%d", "first\nsecond\r\nthird", "%0A::error::fake"])
def test_github_messages_cannot_break_out(report: RunReport, frozen: Finding, message: str) -> None:
    (command,) = _commands(replace(report, findings=(replace(frozen, message=message, help=""),)))
    assert command[2].endswith(message)


def test_github_columns_only_on_one_line(report: RunReport, frozen: Finding) -> None:
    wide = replace(frozen, location=at("src/train.py", 5, 9, 4, end_line=7))
    (command,) = _commands(replace(report, findings=(wide,)))
    assert (command[1]["line"], command[1]["endLine"]) == ("5", "7")
    assert "col" not in command[1]
