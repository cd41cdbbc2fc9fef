"""Routes that cost a start little."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fastapi import Response
from fastapi.datastructures import DefaultPlaceholder
from fastapi.routing import APIRoute
from pydantic import ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema


class LightRoute(APIRoute):
    """A route that builds the schema of its answers when it first answers or is described.

    With half a hundred routes and rows within rows they would take a start about 60 ms.
    """

    def __init__(
        self, path: str, endpoint: Callable[..., Any], *, response_model: Any, **options: Any
    ) -> None:
        if isinstance(response_model, DefaultPlaceholder):  # not said, so what the function returns
            response_model = inspect.signature(endpoint, eval_str=True).return_annotation
        super().__init__(path, endpoint, response_model=_later(response_model), **options)


def _later(model: Any) -> Any:
    """Return a type whose schema is that of ``model`` and which pydantic builds when asked for.

    ``defer_build`` is a setting of classes, and ``Page[JobSummary]`` is none. None stands for
    answers without a schema: FastAPI sends a ``Response`` as it is.
    """
    if model is None or (isinstance(model, type) and issubclass(model, Response)):
        return None

    class Later:
        __pydantic_config__ = ConfigDict(defer_build=True)

        @classmethod
        def __get_pydantic_core_schema__(
            cls, source: Any, handler: GetCoreSchemaHandler
        ) -> CoreSchema:
            return handler.generate_schema(model)

    return Later
