"""What all parts of a recipe share."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
#: marks a field that a later version of Nightshift added: ``Annotated[bool, LATER] = False``
LATER: Final = Field(json_schema_extra={"later": True})


class Strict(BaseModel):
    """Frozen; an unknown field is a mistake, not a wish to be ignored.

    Fields marked ``LATER`` are not written where they have their default, so that older recipes
    keep their digests and their bundles their bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_serializer(mode="wrap")
    def _state(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        stated: dict[str, Any] = serialise(self)
        for name, info in type(self).model_fields.items():
            is_default = getattr(self, name) == info.get_default(call_default_factory=True)
            if is_default and info.json_schema_extra == {"later": True}:
                stated.pop(name, None)
        return stated
