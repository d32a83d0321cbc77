"""The pod of deploy/kubernetes/deployment.yaml, run by podman: init container, then service.

That is no cluster. podman gets the pod as it stands in the manifest, less what it cannot do on the
network of its host (ports and probes), and with restartPolicy Never: podman 4.3 restarts a finished
init container under the policy of a Deployment.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Final

import yaml

from cli.demo_service import free_port
from deploy.check.build import BUNDLE_IMAGE, IMAGE, Store
from deploy.check.tools import Wrong, get, wait_for

_NAME: Final = "psad"
_REQUEST: Final = {"candidates": ["1", "2", "3"], "deadline_ms": 5_000}


def pod(deployment: dict[str, Any], port: int) -> dict[str, Any]:
    """The Deployment's pod, for podman, listening on the loopback's `port`."""
    template = copy.deepcopy(deployment["spec"]["template"])
    (main,) = template["spec"]["containers"]
    for key in ("ports", "startupProbe", "readinessProbe", "livenessProbe"):
        del main[key]
    here = {"RERANK_HOST": "127.0.0.1", "RERANK_PORT": str(port)}
    main["env"] += [{"name": name, "value": value} for name, value in here.items()]
    template["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _NAME, **template["metadata"]},
        "spec": template["spec"],
    }


def check(place: Store, deployment: dict[str, Any], folder: Path) -> str:
    """Start the pod, ask it once, stop it. Raises Wrong where it does not do as it should."""
    port = free_port()
    manifest = pod(deployment, port)
    path = folder / "pod.yaml"
    path.write_text(yaml.safe_dump(manifest), encoding="utf-8")
    (first,), (main,) = manifest["spec"]["initContainers"], manifest["spec"]["containers"]
    for image, name in ((BUNDLE_IMAGE, first["image"]), (IMAGE, main["image"])):
        place.podman("tag", image, name)
    place.podman("play", "kube", "--network", "host", path)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for("answer of the pod's /readyz", lambda: get(f"{url}/readyz"), 120)
        answer = json.loads(get(f"{url}/rerank", _REQUEST))
        if answer["fallback"]:
            raise Wrong(f"the pod answers by fallback: {answer}")
        place.podman("pod", "stop", "--time", "35", _NAME, seconds=60)
        return _ended(json.loads(place.podman("inspect", f"{_NAME}-{main['name']}"))[0])
    finally:
        place.podman("pod", "rm", "--force", "--time", "2", _NAME)
        place.podman("volume", "rm", "--all", "--force")


def _ended(told: dict[str, Any]) -> str:
    user, status = told["Config"]["User"], told["State"]["ExitCode"]
    if not told["HostConfig"]["ReadonlyRootfs"] or told["EffectiveCaps"] or status != 0:
        raise Wrong(f"user {user}, exit status {status}, rights {told['EffectiveCaps']}")
    return f"the bundle came by the init container; read-only as {user}; scored; ended with 0"
