"""compose and Kubernetes files hold by their schemas and fit what the image and service are."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from deploy.check import schemas
from deploy.check.pod import pod as pod_for_podman
from deploy.check.tools import Wrong
from service.settings import Settings


@pytest.fixture
def compose() -> dict[str, Any]:
    return copy.deepcopy(schemas.compose())


@pytest.fixture
def manifests() -> dict[str, dict[str, Any]]:
    return copy.deepcopy(schemas.manifests())


def pod(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = manifests["Deployment"]["spec"]["template"]["spec"]
    return spec


def test_compose_holds_by_its_schema_and_mounts_what_is_there(compose: dict[str, Any]) -> None:
    assert schemas.check_compose(compose) == 4
    schemas.check_mounts(compose)


def test_a_key_that_compose_does_not_know_is_found(compose: dict[str, Any]) -> None:
    compose["services"]["psad"]["readonly"] = True
    with pytest.raises(Wrong, match="readonly"):
        schemas.check_compose(compose)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("volumes", ["./deploy/nothing:/x:ro"], "not there"),
        ("volumes", ["nothing:/x"], "not declared"),
        ("ports", ["8000:8000"], "to the network"),
    ],
)
def test_a_mount_of_nothing_and_an_open_port_are_found(
    compose: dict[str, Any], key: str, value: list[str], said: str
) -> None:
    compose["services"]["psad"][key] = value
    with pytest.raises(Wrong, match=said):
        schemas.check_mounts(compose)


@pytest.mark.parametrize("name", ["psad", "prometheus", "grafana"])
def test_each_service_is_limited_and_writes_nowhere_but_its_volumes(
    compose: dict[str, Any], name: str
) -> None:
    service = compose["services"][name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cpus"]
    assert service["mem_limit"]
    assert "healthcheck" in service or name == "psad"  # whose image has one


def test_compose_waits_longer_than_the_service_takes_to_stop(compose: dict[str, Any]) -> None:
    grace = int(compose["services"]["psad"]["stop_grace_period"].removesuffix("s"))
    settings = Settings(bundle="b")
    assert grace > settings.drain_seconds + settings.stop_seconds


def test_the_manifests_hold_by_their_schemas_and_name_each_other(
    manifests: dict[str, dict[str, Any]],
) -> None:
    assert schemas.check_manifests(manifests) == 4
    schemas.check_selectors(manifests)


def test_a_key_that_kubernetes_does_not_know_is_found(
    manifests: dict[str, dict[str, Any]],
) -> None:
    pod(manifests)["containers"][0]["readinessProb"] = {}
    with pytest.raises(Wrong, match="readinessProb"):
        schemas.check_manifests(manifests)


def test_a_selector_without_its_pods_is_found(manifests: dict[str, dict[str, Any]]) -> None:
    manifests["Service"]["spec"]["selector"] = {"app": "psad"}
    with pytest.raises(Wrong, match="Service selects"):
        schemas.check_selectors(manifests)


def test_every_container_of_the_pod_is_restricted(manifests: dict[str, dict[str, Any]]) -> None:
    spec = pod(manifests)
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec["automountServiceAccountToken"]
    for one in (*spec["containers"], *spec["initContainers"]):
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert one["resources"]["requests"].keys() == {"cpu", "memory"}
        assert one["resources"]["limits"].keys() == {"memory"}


def test_the_grace_period_holds_the_wait_and_the_stop(
    manifests: dict[str, dict[str, Any]],
) -> None:
    spec = pod(manifests)
    (one,) = spec["containers"]
    assert "lifecycle" not in one  # the service waits by itself
    variables = {each["name"]: each["value"] for each in one["env"]}
    settings = Settings.from_env(variables)  # raises where a name or a value is none of ours
    probe = one["readinessProbe"]
    assert settings.drain_seconds >= probe["periodSeconds"] * probe["failureThreshold"]
    assert spec["terminationGracePeriodSeconds"] > settings.drain_seconds + settings.stop_seconds


def test_only_readiness_asks_for_the_model_once_the_pod_has_started(
    manifests: dict[str, dict[str, Any]],
) -> None:
    (one,) = pod(manifests)["containers"]
    paths = {name: one[name]["httpGet"]["path"] for name in one if name.endswith("Probe")}
    assert paths == {
        "startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez",
    }  # fmt: skip


def test_what_podman_is_given_is_the_pod_but_for_ports_and_probes(
    manifests: dict[str, dict[str, Any]],
) -> None:
    given = pod_for_podman(manifests["Deployment"], 1234)["spec"]
    spec = pod(manifests)  # not changed by that
    (one,), (here,) = spec["containers"], given["containers"]
    assert one.keys() - here.keys() == {
        "ports", "startupProbe", "readinessProbe", "livenessProbe",
    }  # fmt: skip
    assert given["initContainers"] == spec["initContainers"]
    assert given["securityContext"] == spec["securityContext"]
    assert here["securityContext"] == one["securityContext"]
    assert Settings.from_env({each["name"]: each["value"] for each in here["env"]}).port == 1234
