"""compose and Kubernetes files against their schemas, and the few facts that no schema knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.check.tools import ROOT, Wrong

COMPOSE: Final = ROOT / "docker-compose.yml"
KUBERNETES: Final = ROOT / "deploy/kubernetes"
VERSIONS: Final = ("1.30", "1.37")  # of Kubernetes, the oldest and the newest that are looked at
_SCHEMA: Final = Path(__file__).with_name("vendored") / "compose-spec.json"


def compose() -> dict[str, Any]:
    """docker-compose.yml."""
    read: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return read


def check_compose(read: dict[str, Any]) -> int:
    """How many services there are. Raises Wrong where the schema does not hold."""
    import jsonschema

    schema = json.loads(_SCHEMA.read_text(encoding="utf-8"))
    checker = jsonschema.Draft7Validator(schema)
    for error in checker.iter_errors(read):
        raise Wrong(f"docker-compose.yml, {error.json_path}: {error.message}")
    return len(read["services"])


def check_mounts(read: dict[str, Any]) -> None:
    """Raises Wrong where a file that is mounted is not in the repository, or a port is open."""
    for name, service in read["services"].items():
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            ours = source.startswith("./") and source != "./bundles"
            if ours and not (ROOT / source).exists():
                raise Wrong(f"{name} mounts {source}, which is not there")
            if not source.startswith("./") and source not in read["volumes"]:
                raise Wrong(f"{name} mounts the volume {source}, which is not declared")
        for port in service.get("ports", ()):
            if not str(port).startswith("127.0.0.1:"):
                raise Wrong(f"{name} opens {port} to the network")


def manifests(folder: Path = KUBERNETES) -> dict[str, dict[str, Any]]:
    """Kind -> the manifest."""
    read = [
        one
        for path in sorted(folder.glob("*.yaml"))
        for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]
    return {one["kind"]: one for one in read}


def check_manifests(found: dict[str, dict[str, Any]]) -> int:
    """How many manifests hold in every version looked at. Raises Wrong, naming kind and place."""
    import kubernetes_validate

    for version in VERSIONS:
        for kind, manifest in found.items():
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except (
                kubernetes_validate.ValidationError,
                kubernetes_validate.SchemaNotFoundError,
                kubernetes_validate.InvalidSchemaError,
            ) as error:
                raise Wrong(f"{kind} in Kubernetes {version}: {error.message}") from None
    return len(found)


def check_selectors(found: dict[str, dict[str, Any]]) -> None:
    """Raises Wrong where a manifest speaks of pods, ports or a Deployment that are not there."""
    deployment = found["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for kind in ("Deployment", "PodDisruptionBudget"):
        _subset(kind, found[kind]["spec"]["selector"]["matchLabels"], labels)
    _subset("Service", found["Service"]["spec"]["selector"], labels)
    ports = {p["name"] for c in _containers(deployment) for p in c.get("ports", ())}
    asked = {port["targetPort"] for port in found["Service"]["spec"]["ports"]}
    if unknown := asked - ports:
        raise Wrong(f"Service: no container has the port {sorted(unknown)}")
    target = found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"]
    if target != deployment["metadata"]["name"]:
        raise Wrong(f"HorizontalPodAutoscaler: there is no Deployment {target}")


def _subset(kind: str, selector: dict[str, str], labels: dict[str, str]) -> None:
    if not selector or not selector.items() <= labels.items():
        raise Wrong(f"{kind} selects {selector}, and the pods are labelled {labels}")


def _containers(deployment: dict[str, Any]) -> list[dict[str, Any]]:
    containers: list[dict[str, Any]] = deployment["spec"]["template"]["spec"]["containers"]
    return containers
