"""How the server describes itself: bodies and path parameters of its routes, from the classes that read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

__all__ = ["describer"]

_REFERENCE = "#/components/schemas/{model}"


def describer(app: FastAPI, bodies: Mapping[str, type[BaseModel]]) -> Callable[[], dict[str, Any]]:
    """Return what makes the OpenAPI page of an app whose routes read ``bodies``, by path."""
    page: dict[str, Any] = {}

    def described() -> dict[str, Any]:
        if not page:
            page.update(get_openapi(title=app.title, version=app.version, routes=app.routes))
            _add(page, bodies)
        return page

    return described


def _add(page: dict[str, Any], bodies: Mapping[str, type[BaseModel]]) -> None:
    kinds = list(dict.fromkeys(bodies.values()))
    references, definitions = models_json_schema([(kind, "validation") for kind in kinds], ref_template=_REFERENCE)
    page.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
    for path, kind in bodies.items():
        content = {"application/json": {"schema": references[kind, "validation"]}}
        page["paths"][path]["post"]["requestBody"] = {"required": True, "content": content}
    for path, methods in page["paths"].items():
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        for method in methods.values():
            for name in names:
                one = {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
                method.setdefault("parameters", []).append(one)
