"""What goes wrong on the way to an answer, as gRPC statuses with TensorFlow
Serving's texts. It decides nothing about models or requests.
"""

import functools

import grpc

CODES = {code.value[0]: code for code in grpc.StatusCode}
LIMIT = 1024
MARK = b"...TRUNCATED"


class ServingError(Exception):
    """A gRPC status on its way to the caller."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message):
    """The status that most refusals have."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def cut(message):
    """Cuts a text at 1024 bytes and says so, as the real server does."""
    data = message.encode("utf-8")
    if len(data) <= LIMIT:
        return message
    return (data[:LIMIT] + MARK).decode("utf-8", "ignore")


def answers(method):
    """Lets a method raise ServingError; the caller gets a gRPC status."""
    @functools.wraps(method)
    def wrapper(self, request, context):
        try:
            return method(self, request)
        except ServingError as error:
            context.abort(error.code, cut(error.message))
    return wrapper


def needs_spec(request):
    """Refuses a request that names no model at all."""
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
