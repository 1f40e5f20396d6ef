"""Write the JSON schemas that kubeconform checks the chart with, from the OpenAPI document of a running cluster.

    python tests/chart/make_schemas.py        # the cluster is KUBECONFIG's; kubectl must be installed

kubeconform would fetch them otherwise; kept here, the check needs no network. One file a kind, under the version of
the cluster, strict (a field that Kubernetes does not know is an error) and without descriptions. Run it again when the
chart renders a new kind or is checked against a new Kubernetes version.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

SCHEMAS = Path(__file__).parent / "schemas"
KINDS = {
    "api/v1": ["Service", "ServiceAccount"],
    "apis/apps/v1": ["Deployment"],
    "apis/networking.k8s.io/v1": ["NetworkPolicy"],
    "apis/policy/v1": ["PodDisruptionBudget"],
}
DROPPED = {"description", "default", "x-kubernetes-group-version-kind"}


def main() -> None:
    version = get("version")
    target = SCHEMAS / f"v{version['major']}.{version['minor']}.0"
    target.mkdir(parents=True, exist_ok=True)
    for api, kinds in KINDS.items():
        components = get(f"openapi/v3/{api}")["components"]["schemas"]
        for kind in kinds:
            path = target / file_name(kind, api)
            path.write_text(json.dumps(standalone(components, kind, api), indent=1, sort_keys=True) + "\n")


def get(path: str) -> Any:
    return json.loads(
        subprocess.run(["kubectl", "get", "--raw", f"/{path}"], check=True, stdout=subprocess.PIPE).stdout
    )


def file_name(kind: str, api: str) -> str:
    """The name kubeconform looks for: kind, first part of the group if there is one, version."""
    *group, version = api.split("/")[1:]
    return "-".join([kind, *(part.split(".")[0] for part in group), version]).lower() + ".json"


def standalone(components: dict[str, Any], kind: str, api: str) -> dict[str, Any]:
    """The kind's schema with everything that it refers to."""
    group_version = api.split("/", 1)[1]
    group, _, version = f"/{group_version}".rpartition("/")
    wanted = {"group": group.strip("/"), "kind": kind, "version": version}
    root = next(n for n, s in components.items() if wanted in s.get("x-kubernetes-group-version-kind", []))
    definitions: dict[str, Any] = {}
    pending = [root]
    while pending:
        name = pending.pop()
        if name not in definitions:
            definitions[name] = strict(components[name])
            pending += [ref.removeprefix("#/definitions/") for ref in references(definitions[name])]
    schema = definitions.pop(root)
    schema["properties"]["apiVersion"] = {"const": group_version}
    schema["properties"]["kind"] = {"const": kind}
    schema["required"] = ["apiVersion", "kind", "metadata", *schema.get("required", [])]
    return {"$schema": "http://json-schema.org/draft-07/schema#", **schema, "definitions": definitions}


def strict(schema: Any) -> Any:
    """JSON schema from OpenAPI: closed objects, local references, no prose."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": schema["$ref"].replace("#/components/schemas/", "#/definitions/")}
    made = {
        k: strict(v) for k, v in schema.items() if k not in DROPPED and k != "properties" and not k.startswith("x-")
    }
    if "properties" in schema:
        made["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        made.setdefault("additionalProperties", False)
    return made


def references(schema: Any) -> list[str]:
    return re.findall(r'"(#/definitions/[^"]+)"', json.dumps(schema))


if __name__ == "__main__":
    main()
