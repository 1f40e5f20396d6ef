"""What openai-python's errors have that the contract's do not. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from penstock.errors import APIError
    from penstock.openai_shape.errors import ErrorResponse


class ErrorAttributes:
    """Base of APIError."""

    @property
    def response(self) -> ErrorResponse:
        """The HTTP answer that the gateway would give: `.status_code`, `.headers`, `.json()`."""
        from penstock.openai_shape.errors import error_response  # it imports the errors

        return error_response(cast("APIError", self))

    @property
    def status_code(self) -> int:
        """`http_status`, by OpenAI's name."""
        return self.response.status

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's JSON object: message, type, param and code."""
        error: dict[str, Any] = self.response.body["error"]
        return error

    @property
    def type(self) -> str:
        """OpenAI's name of the kind: "invalid_request_error" and so on."""
        return str(self.body["type"])
