"""A request's structured output as vLLM's parameters, and back. Pure."""

import json

from vllm.sampling_params import StructuredOutputsParams

from penstock.v1 import generation_pb2 as pb


def structured_outputs_params(constraint: pb.StructuredOutput) -> StructuredOutputsParams:
    """vLLM's parameters for a checked constraint."""
    match constraint.WhichOneof("constraint"):
        case "json_object":
            return StructuredOutputsParams(json_object=True)
        case "choice":
            return StructuredOutputsParams(choice=list(constraint.choice.options))
        case "json_schema":
            return StructuredOutputsParams(json=constraint.json_schema)
        case "regex":
            return StructuredOutputsParams(regex=constraint.regex)
        case "grammar":
            return StructuredOutputsParams(grammar=constraint.grammar)
        case "structural_tag":
            return StructuredOutputsParams(structural_tag=constraint.structural_tag)
    raise ValueError("a checked constraint is set")


def constraint_of(params: StructuredOutputsParams | None) -> pb.StructuredOutput | None:
    """The constraint that vLLM's parsers made of tools; None for none."""
    if params is None:
        return None
    if params.json is not None:
        schema = params.json if isinstance(params.json, str) else json.dumps(params.json)
        return pb.StructuredOutput(json_schema=schema)
    for name in ("regex", "grammar", "structural_tag"):
        if (text := getattr(params, name)) is not None:
            constraint = pb.StructuredOutput()
            setattr(constraint, name, text)
            return constraint
    return None
