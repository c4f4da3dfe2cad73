"""What Ray, Serve and KubeRay themselves think of the files that we ship for clusters; nothing is started.

A mistake must be seen here, so each file is also copied with one key misspelt, every key in turn; each copy must be
refused.
"""

from __future__ import annotations

import copy
import re
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime.settings import Settings, load
from tests.cluster.closed import (
    KINDS,
    ROOT,
    commands_of,
    documents,
    is_shell,
    keys_of,
    kuberay_problems,
    launcher_problems,
    misspelt,
    node_env,
    serve_problems,
    unknown_variable,
    variant,
)

CLUSTER = (ROOT / "cluster.yaml").read_text()
SERVE = (ROOT / "serve_config.yaml").read_text()
KUBERAY = (ROOT / "deploy" / "kuberay" / "rayservice.yaml").read_text()
NODE_ENV = (ROOT / "deploy" / "node.env").read_text()
SCRIPTS = ("haproxy", "drain", "backup-often", "restore-newest")


def cluster(kind: str) -> dict[str, Any]:
    (found,) = documents(variant(CLUSTER, kind))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_rays_launcher_takes_cluster_yaml_with_each_block(kind: str) -> None:
    assert launcher_problems(cluster(kind), kind) == []


@pytest.mark.parametrize("kind", KINDS)
def test_each_key_of_cluster_yaml_misspelt_is_noticed(kind: str) -> None:
    config = cluster(kind)
    missed = [at for at in keys_of(config) if not launcher_problems(misspelt(copy.deepcopy(config), at), kind)]
    assert missed == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("was", "is_"),
    [
        ("deploy/node.env", "deploy/nod.env"),
        ("RAYGATE_CONFIG=", "RAYGATE_CONFG="),
        ("RAY_SERVE_HAPROXY_BINARY_PATH=", "RAY_SERVE_HAPROXY_BINARYPATH="),
        ("--num-cpus=0", "--num-cpu=0"),
        ('"raygate_state": 1}\'', '"raygate_sate": 1}\''),
        ("ulimit -n 65536 &&", "ulimit -n 65536 && ("),
        ("upscaling_speed: 1.0", "upscaling_speed: fast"),
        ("cluster_name: raygate", "cluster_name: [raygate]"),
    ],
)
def test_other_mistakes_in_cluster_yaml_are_noticed(kind: str, was: str, is_: str) -> None:
    text = variant(CLUSTER, kind)
    assert was in text
    (config,) = documents(text.replace(was, is_))
    assert launcher_problems(config, kind)


@pytest.mark.parametrize(
    ("kind", "was", "is_"),
    [
        ("aws", "type: aws", "type: asw"),
        ("aws", "m7i.large", "m7i.larg"),
        ("aws", "MarketType: spot", "MarketType: sopt"),
        ("aws", "head_node_type: head", "head_node_type: haed"),
        ("gcp", "machineType: e2-standard-2", "machineType: e2-standard"),
        ("gcp", "type: PERSISTENT", "type: PERSISTANT"),
        ("machines", "max_workers: 2", "max_workers: two"),
    ],
)
def test_mistakes_in_one_block_are_noticed(kind: str, was: str, is_: str) -> None:
    text = variant(CLUSTER, kind)
    assert was in text
    (config,) = documents(text.replace(was, is_))
    assert launcher_problems(config, kind)


def test_a_key_that_stands_twice_is_noticed() -> None:
    with pytest.raises(yaml.YAMLError, match="max_workers"):
        documents(variant(CLUSTER, "machines") + "\nmax_workers: 3\n")


@pytest.mark.parametrize("kind", KINDS)
def test_the_commands_of_cluster_yaml_are_shell_and_start_ray_with_a_token(kind: str) -> None:
    config = cluster(kind)
    assert all(is_shell(command) for command in commands_of(config))
    for when in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert re.search(r"set -a .* deploy/node\.env .* set \+a .*/ray start ", config[when][-1])
    assert node_env(NODE_ENV)["RAY_AUTH_MODE"] == "token"
    assert "~/.ray/auth_token" in config["file_mounts"]


def test_somebody_reads_each_variable_of_a_node() -> None:
    env = node_env(NODE_ENV)
    assert env["RAY_SERVE_ENABLE_HA_PROXY"] == env["RAY_SERVE_THROUGHPUT_OPTIMIZED"] == "1"
    assert env["RAY_worker_niceness"] == "0"
    assert [problem for name in env for problem in unknown_variable(name)] == []
    assert [name for name in env if not unknown_variable(f"{name}X")] == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_of_deploy_are_shell_and_may_be_run(name: str) -> None:
    path = ROOT / "deploy" / name
    assert is_shell(path.read_text())
    assert path.stat().st_mode & 0o111
    assert path.read_text().startswith("#!/bin/sh\n")


def test_serve_takes_its_config_and_builds_the_application() -> None:
    (config,) = documents(SERVE)
    assert serve_problems(config) == []


def test_each_key_of_the_serve_config_misspelt_is_noticed() -> None:
    (config,) = documents(SERVE)
    assert [at for at in keys_of(config) if not serve_problems(misspelt(copy.deepcopy(config), at))] == []


@pytest.mark.parametrize(
    ("was", "is_"),
    [
        ("serve.deploy:application", "serve.deploy:aplication"),
        ("EveryNode", "EveryNod"),
        ("max_replicas: 16", "max_replicas: 1"),
        ("encoding: JSON", "encoding: JSN"),
        ("port: 8000", "port: eight"),
        ("cpus: 1", "cpus: -1"),
    ],
)
def test_other_mistakes_in_the_serve_config_are_noticed(was: str, is_: str) -> None:
    assert was in SERVE
    (config,) = documents(SERVE.replace(was, is_))
    assert serve_problems(config)


def test_the_manifest_is_what_kuberays_schema_describes() -> None:
    assert kuberay_problems(documents(KUBERAY)) == []


def test_the_manifest_holds_the_same_application_and_the_same_environment() -> None:
    (config,) = documents(SERVE)
    service = next(one for one in documents(KUBERAY) if one["kind"] == "RayService")["spec"]
    assert yaml.safe_load(service["serveConfigV2"]) == config
    cluster = service["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        env = {one["name"]: one["value"] for one in group["template"]["spec"]["containers"][0]["env"]}
        ours = {"RAYGATE_STATE_DIR", "RAYGATE_CONFIG", "RAY_SERVE_HAPROXY_BINARY_PATH"}
        assert {name: value for name, value in env.items() if name not in ours} == node_env(NODE_ENV)


def test_each_key_of_the_manifest_misspelt_is_noticed() -> None:
    found = documents(KUBERAY)
    missed = []
    for number, document in enumerate(found):
        for at in keys_of(document):
            copied = [misspelt(one, at) if place == number else one for place, one in enumerate(found)]
            if not kuberay_problems(copied):
                missed.append((document["kind"], at))
    assert missed == []


@pytest.mark.parametrize(
    ("was", "is_"),
    [
        ("apiVersion: ray.io/v1\n", "apiVersion: ray.io/v2\n"),
        ("kind: RayService", "kind: RayServices"),
        ("mode: token", "mode: tokn"),
        ("backend: redis", "backend: reddis"),
        ('num-cpus: "0"', 'num-cpu: "0"'),
        ('num-cpus: "0"', "num-cpus: 0"),
        ("raygate_state", "raygate_sate"),
        ("name: RAYGATE_CONFIG,", "name: RAYGATE_CONFG,"),
        ("name: RAY_SERVE_ENABLE_HA_PROXY,", "name: RAY_SERVE_ENABLE_HAPROXY,"),
        ("name: state, mountPath", "name: stat, mountPath"),
        ("value: /settings/raygate.yaml", "value: /setings/raygate.yaml"),
        ("port: serve}", "port: srve}"),
        ("path: /api/healthz", "path: /api/health"),
        ("/opt/raygate/deploy/drain", "/opt/raygate/deploy/drian"),
        ('rayVersion: "2.60.0"', 'rayVersion: "2.6.0"'),
        ("port: 8265, protocol: TCP", "port: 8265, protocl: TCP"),
        ("policyTypes: [Ingress, Egress]", "policyTypes: [Ingress, Egres]"),
        ("max_replicas: 16", "max_replica: 16"),
        ("replicas: 2\n        minReplicas", "replicas: two\n        minReplicas"),
    ],
)
def test_other_mistakes_in_the_manifest_are_noticed(was: str, is_: str) -> None:
    assert was in KUBERAY
    assert kuberay_problems(documents(KUBERAY.replace(was, is_)))


def test_the_settings_of_the_manifest_are_settings(tmp_path: Path) -> None:
    text = documents(KUBERAY)[0]["data"]["raygate.yaml"]
    path = tmp_path / "raygate.yaml"
    path.write_text(text)
    env = {"LEDGER_URL": "postgresql://ledger", "OPENAI_API_KEY": "sk-1"}
    settings = load(path, env)
    assert isinstance(settings, Settings)
    assert settings.ledger.durability == "cluster"
    assert settings.host == "0.0.0.0"


def test_no_secret_stands_in_a_file() -> None:
    for text in (CLUSTER, SERVE, KUBERAY, NODE_ENV, (ROOT / "Containerfile").read_text()):
        assert not re.search(r"(sk-|rg-)[A-Za-z0-9_-]{8,}", text)
    assert not any(one["kind"] == "Secret" for one in documents(KUBERAY))


def test_this_distribution_alone_owns_its_import_names() -> None:
    # An editable install lists no packages of its own, so none but ours may be named, and ours must be found.
    owners = packages_distributions()
    for name in ("runtime", "actors", "serve"):
        assert set(owners.get(name, ["raygate"])) == {"raygate"}
        spec = find_spec(name)
        assert spec is not None
        assert Path(str(spec.origin)).parent == ROOT / name
