"""Edgegap's OpenAPI files, which are not a part of the project.

EDGEGAP_OFFICIAL_API names the folder that has `edgegap-v1-openapi.yaml` and
`edgegap-v2-openapi.yaml`. Tests that need them are skipped without it.
"""

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

VARIABLE = "EDGEGAP_OFFICIAL_API"
FOLDER = os.environ.get(VARIABLE)
needs_files = pytest.mark.skipif(
    not FOLDER, reason=f"set {VARIABLE} to the folder of Edgegap's OpenAPI files"
)


@cache
def files() -> Mapping[str, Any]:
    """The documents, by the first part of the paths of the API."""
    found = {
        version: yaml.safe_load(
            Path(FOLDER or "", f"edgegap-{version}-openapi.yaml").read_text()
        )
        for version in ("v1", "v2")
    }
    assert all(len(file["paths"]) >= 3 for file in found.values())
    return found


def shape(path: str) -> str:
    """A path without the names of its parameters, which differ."""
    return re.sub(r"\{[^}]*\}", "{}", path)


@cache
def documented() -> dict[str, tuple[Any, Any]]:
    """Each operation of the files, with its document."""
    found = {}
    for version, file in files().items():
        for path, methods in file["paths"].items():
            full = path if path.startswith(f"/{version}/") else f"/{version}{path}"
            for method, operation in methods.items():
                found[f"{method.upper()} {shape(full)}"] = operation, file
    return found
