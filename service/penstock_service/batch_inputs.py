"""The inputs of a batch, each as a request of its own. Pure."""

from collections.abc import Iterator

from penstock.v1.generation_pb2 import GenerateRequest


def inputs_of(request: GenerateRequest) -> Iterator[GenerateRequest]:
    """A request for each input of the batch, or the request itself if it has one input."""
    if request.WhichOneof("input") != "batch":
        yield request
        return
    shared = GenerateRequest()
    shared.CopyFrom(request)
    shared.ClearField("batch")  # an input must not hold the others
    shared.ClearField("idempotency_key")  # which names all of them together
    for given in request.batch.inputs:
        one = GenerateRequest()
        one.CopyFrom(shared)
        one.MergeFromString(given.SerializeToString())  # BatchInput has the numbers of GenerateRequest's input
        yield one
