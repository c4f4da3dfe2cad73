"""docs/configuration.md says every key that there is, and the schema takes what the settings take."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from runtime.settings import Settings
from runtime.settings.reference import page
from serve.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_as_the_types_are() -> None:
    assert PAGE.read_text() == page(), "make docs renews it"


def test_every_part_has_a_section_and_every_key_a_line() -> None:
    said = PAGE.read_text()
    schema = Settings.model_json_schema()
    for part in [schema, *(one for one in schema["$defs"].values() if "properties" in one)]:
        for name in part["properties"]:
            assert f"| `{name}` |" in said, (part["title"], name)


def test_the_schema_takes_what_is_right_and_names_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    right = "retry: {max_attempts: 3}\nproviders: {mine: {kind: custom, base_url: 'http://127.0.0.1:1/v1'}}"
    jsonschema.validate(yaml.safe_load(right), schema)
    for wrong in ("retry: {max_atempts: 3}", "replicas: many", "strategy: cheapest"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(wrong), schema)
