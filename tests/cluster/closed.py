"""What checks the files for clusters: schemas that know every key, and what no schema says, as lists of problems."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import click
import jsonschema
import ray.autoscaler
import ray.serve._private.constants as serve_constants
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
from ray.serve.schema import ServeDeploySchema

from actors.supervisor import STATE
from runtime.settings import ALSO_READ

ROOT = Path(__file__).parents[2]
CRD = Path(__file__).parent / "crd" / "rayservice.json.gz"
Json = Any


class _Strict(yaml.SafeLoader):
    """A key that stands twice is an error, not the last one."""


def _once(loader: _Strict, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    if twice := {key for key in keys if keys.count(key) > 1}:
        raise yaml.YAMLError(f"stands twice: {twice}")
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _once)


def documents(text: str) -> list[Json]:
    return list(yaml.load_all(text, Loader=_Strict))


def closed(schema: Json) -> Json:
    """The schema that refuses what it does not name, at every depth: Kubernetes and Ray only drop such keys."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: closed(value) for key, value in schema.items()}
    if isinstance(out.get("properties"), dict) and out.get("additionalProperties") in (None, True):
        out["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        out.pop("type", None)
    return out


def refused(validator: jsonschema.protocols.Validator, document: Json) -> list[str]:
    return [f"{'/'.join(map(str, one.absolute_path))}: {one.message}"[:300] for one in validator.iter_errors(document)]


# cluster.yaml

BLOCK = re.compile(r"^# >>> (\w+).*?^# <<< \1$\n?", re.M | re.S)
KINDS = ("machines", "aws", "gcp")
RESOURCES = {"CPU", "GPU", STATE}
"""A resource is a word of anybody's; these are the ones that mean something here."""

_DISK = {"DeviceName": {"pattern": "^/dev/"}, "Ebs": {"properties": {"VolumeSize": {"type": "integer"}}}}
_EBS = {"VolumeSize": {"type": "integer"}, "VolumeType": {"enum": ["gp3", "io2"]}, "Encrypted": {"type": "boolean"}}
NODE_CONFIG: Mapping[str, Json] = {
    # Of EC2's RunInstances and of Compute Engine's instances.insert, what we use.
    "aws": {
        "required": ["InstanceType", "ImageId"],
        "properties": {
            "InstanceType": {"pattern": r"^[a-z]+\d[a-z]*\.(large|\d*xlarge)$"},
            "ImageId": {"pattern": "^ami-[0-9a-f]{17}$"},
            "BlockDeviceMappings": {"items": {"properties": {**_DISK, "Ebs": {"properties": _EBS}}}},
            "InstanceMarketOptions": {"properties": {"MarketType": {"enum": ["spot"]}}},
        },
    },
    "gcp": {
        "required": ["machineType", "disks"],
        "properties": {
            "machineType": {"pattern": r"^[a-z]\d[a-z]?-[a-z]+-\d+$"},
            "scheduling": {"items": {"properties": {"preemptible": {"type": "boolean"}}}},
            "disks": {
                "items": {
                    "required": ["boot", "initializeParams"],
                    "properties": {
                        "boot": {"type": "boolean"},
                        "autoDelete": {"type": "boolean"},
                        "type": {"enum": ["PERSISTENT"]},
                        "initializeParams": {
                            "properties": {
                                "diskSizeGb": {"type": "integer"},
                                "sourceImage": {"pattern": "^projects/[a-z-]+/global/images/family/[a-z0-9-]+$"},
                            }
                        },
                    },
                }
            },
        },
    },
}
SECURITY_GROUP = {
    "items": {
        "properties": {
            "FromPort": {"type": "integer"},
            "ToPort": {"type": "integer"},
            "IpProtocol": {"enum": ["TCP"]},
            "IpRanges": {"items": {"properties": {"CidrIp": {"pattern": r"^[\d.]+/\d+$"}}}},
        }
    }
}


def variant(text: str, kind: str) -> str:
    """cluster.yaml as it is when this block holds: the others left out, this one uncommented."""

    def choose(found: re.Match[str]) -> str:
        if found[1] != kind:
            return ""
        inner = found[0].splitlines()[1:-1]
        if kind != "machines":
            inner = [line.removeprefix("# ") for line in inner]
        return "\n".join(inner) + "\n"

    assert [found[1] for found in BLOCK.finditer(text)] == list(KINDS)
    return BLOCK.sub(choose, text)


@cache
def _launcher(kind: str) -> jsonschema.protocols.Validator:
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    schema["properties"] |= {"min_workers": {"type": "integer"}}  # of type local: Ray moves it before it looks
    provider = schema["properties"]["provider"]["properties"]
    provider["security_group"]["properties"]["IpPermissions"] |= SECURITY_GROUP
    provider["type"] = {"enum": ["local", "aws", "gcp"]}
    schema["properties"]["available_node_types"]["propertyNames"] = {"enum": ["head", "gateway", "gpu"]}
    for node in schema["properties"]["available_node_types"]["patternProperties"].values():
        node["properties"]["node_config"] |= NODE_CONFIG.get(kind, {})
        node["properties"]["resources"] = {"propertyNames": {"enum": sorted(RESOURCES)}}
    return jsonschema.Draft7Validator(closed(schema))


def launcher_problems(config: Json, kind: str) -> list[str]:
    """What is wrong with one variant of cluster.yaml, by Ray's own validators and the closed schema."""
    if problems := refused(_launcher(kind), config):
        return problems
    problems += [f"a command is no shell: {one}" for one in commands_of(config) if not is_shell(one)]
    mounts = set(config.get("file_mounts", {}))
    read = " ".join(commands_of(config))
    problems += [f"{one} is mounted, and nothing reads it" for one in mounts if one.removeprefix("~/") not in read]
    for name in re.findall(r"\b(RAY\w*)=", read):
        problems += unknown_variable(name)
    problems += [f"no {name}" for name in REQUIRED_IN_START if name not in read]
    try:
        validate_config(prepare_config(config))
    except (jsonschema.ValidationError, click.ClickException, ValueError, RuntimeError) as error:
        problems.append(f"Ray: {str(error).splitlines()[:1]}")
    return problems


REQUIRED_IN_START = ("--num-cpus=0", f'"{STATE}": 1', "deploy/node.env", "secrets.env", "raygate.yaml")


def commands_of(config: Json) -> list[str]:
    return [
        command
        for key, value in config.items()
        if key.endswith("_commands") and isinstance(value, list)
        for command in value
    ]


@cache
def is_shell(command: str) -> bool:
    done = subprocess.run(["bash", "-n"], input=command.encode(), capture_output=True, check=False, timeout=10)
    return done.returncode == 0


# Variables.

OURS = {*ALSO_READ, "RAYGATE_STATE_DIR"}
OF_DEPLOY = {"BACKUP_URL", "BACKUP_EVERY_S"}
OF_RAY = {"RAY_AUTH_MODE", "RAY_USAGE_STATS_ENABLED", "RAY_HEAD_IP", "RAY_REDIS_ADDRESS"}
"""Read by Ray outside of Serve."""


@cache
def _serves() -> str:
    return Path(serve_constants.__file__).read_text()


@cache
def _raylet() -> bytes:
    return (Path(ray.__file__).parent / "core/src/ray/raylet/raylet").read_bytes()


def unknown_variable(name: str) -> list[str]:
    """Whether anybody reads it: our settings, Serve's constants, or the C++ half of Ray."""
    known = (
        name in OURS | OF_RAY | OF_DEPLOY
        or (name.startswith("RAY_SERVE_") and f'"{name}"' in _serves())
        or (re.fullmatch(r"RAY_[a-z_]+", name) and name[4:].encode() + b"\0" in _raylet())
    )
    return [] if known else [f"nobody reads {name}"]


def node_env(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


# Serve's configuration.


@cache
def _serve_schema() -> jsonschema.protocols.Validator:
    return jsonschema.Draft202012Validator(closed(ServeDeploySchema.model_json_schema()))


def serve_problems(config: Json) -> list[str]:
    """Serve itself ignores what it does not know; its schema, closed, does not. The application is built, too."""
    problems = refused(_serve_schema(), config)
    try:
        parsed = ServeDeploySchema.model_validate(config)
        for one in parsed.applications:
            import serve.deploy

            module, _, name = one.import_path.partition(":")
            builder = getattr(serve.deploy, name, None) if module == "serve.deploy" else None
            if builder is None:
                problems.append(f"{one.import_path} is not there")
            else:
                call_user_app_builder_with_args_if_necessary(builder, one.args)
    except (ValueError, TypeError) as error:
        problems.append(f"Serve: {error}")
    return problems


# KubeRay.


@cache
def _crd() -> Json:
    schema = json.loads(gzip.decompress(CRD.read_bytes()))["schema"]
    meta = {"properties": {"name": {"type": "string"}, "labels": {"type": "object"}}, "required": ["name"]}
    schema["properties"]["metadata"] = meta
    pods = [schema["properties"]["spec"]["properties"]["rayClusterConfig"]["properties"]]
    groups = [pods[0]["headGroupSpec"], pods[0]["workerGroupSpecs"]["items"]]
    for group in groups:
        # Kubernetes has it open; names of our own pods need no more.
        group["properties"]["template"]["properties"]["metadata"] = {"properties": {"labels": {"type": "object"}}}
    return closed(schema)


@cache
def _kinds() -> dict[str, jsonschema.protocols.Validator]:
    crd = _crd()
    cluster = crd["properties"]["spec"]["properties"]["rayClusterConfig"]["properties"]
    rules = cluster["networkPolicy"]["properties"]["head"]["properties"]
    selector = rules["ingressRules"]["items"]["properties"]["from"]["items"]["properties"]["podSelector"]
    strings = {"type": "object", "additionalProperties": {"type": "string"}}
    top = {"apiVersion": {}, "kind": {}, "metadata": crd["properties"]["metadata"]}

    def of(version: str, **rest: Json) -> jsonschema.protocols.Validator:
        properties = {**top, "apiVersion": {"const": version}, **rest}
        schema = {"type": "object", "required": list(properties), "properties": properties}
        return jsonschema.Draft202012Validator(closed(schema))

    policy = {
        "required": ["podSelector", "policyTypes"],
        "properties": {
            "podSelector": selector,
            "policyTypes": {"items": {"enum": ["Ingress", "Egress"]}},
            "ingress": rules["ingressRules"],
            "egress": rules["egressRules"],
        },
    }
    budget = {"properties": {"maxUnavailable": {"type": "integer"}, "selector": selector}}
    service = {**crd["properties"]}
    del service["apiVersion"], service["kind"], service["metadata"]
    return {
        "ConfigMap": of("v1", data=strings),
        "RayService": of("ray.io/v1", **service),
        "NetworkPolicy": of("networking.k8s.io/v1", spec=policy),
        "PodDisruptionBudget": of("policy/v1", spec=budget),
    }


THEIRS = ({"k8s-app": "kube-dns"}, {"app.kubernetes.io/name": "kuberay-operator"})
"""The labels of others' pods, as Kubernetes' own DNS and KubeRay's Helm chart have them."""


def kuberay_problems(found: list[Json]) -> list[str]:
    """What the API server would refuse or drop, and what it would take and nobody would find."""
    problems: list[str] = []
    for one in found:
        validator = _kinds().get(one.get("kind", ""))
        problems += [f"unknown kind {one.get('kind')}"] if validator is None else refused(validator, one)
    if problems:
        return problems
    named = {one["kind"]: one for one in found}
    if set(named) != set(_kinds()):
        return [f"missing: {set(_kinds()) - set(named)}"]
    spec = named["RayService"]["spec"]
    problems += serve_problems(yaml.load(spec["serveConfigV2"], Loader=_Strict))
    cluster = spec["rayClusterConfig"]
    if cluster["rayVersion"] != ray.__version__:
        problems.append(f"rayVersion is {cluster['rayVersion']}, the lock file's is {ray.__version__}")
    problems += [f"nobody has {name}" for name in _amounts(cluster) if name not in ("cpu", "memory", "nvidia.com/gpu")]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        problems += _of_pod(group, settings=named["ConfigMap"]["metadata"]["name"])
    ours = groups[0]["template"]["metadata"]["labels"]
    problems += [
        f"{one['template']['metadata']['labels']}?" for one in groups if one["template"]["metadata"]["labels"] != ours
    ]
    problems += [f"{one} selects nothing" for one in _selectors(found) if one not in (ours, *THEIRS)]
    if list(named["ConfigMap"]["data"]) != ["raygate.yaml"]:
        problems.append("the settings are not where RAYGATE_CONFIG looks")
    return problems


def _selectors(value: Json) -> Iterator[dict[str, str]]:
    if isinstance(value, dict):
        if isinstance(value.get("matchLabels"), dict):
            yield value["matchLabels"]
        for one in value.values():
            yield from _selectors(one)
    elif isinstance(value, list):
        for one in value:
            yield from _selectors(one)


def _amounts(value: Json) -> Iterator[str]:
    """The names of all resources that are asked for or bounded."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from one if key in ("requests", "limits") else _amounts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _amounts(one)


START = {"num-cpus", "dashboard-host", "resources"}
"""Of the flags of `ray start`, those that we use: KubeRay passes on whatever stands here."""


def _of_pod(group: Json, *, settings: str) -> list[str]:
    pod, problems = group["template"]["spec"], []
    problems += [f"ray start has no --{flag}" for flag in set(group["rayStartParams"]) - START]
    asked = json.loads(json.loads(group["rayStartParams"].get("resources", '"{}"')))
    problems += [f"resource {name} means nothing" for name in set(asked) - RESOURCES]
    volumes = {one["name"]: one for one in pod["volumes"]}
    problems += [
        f"config map {one['configMap']['name']}"
        for one in volumes.values()
        if "configMap" in one and one["configMap"]["name"] != settings
    ]
    for container in [*pod.get("initContainers", ()), *pod["containers"]]:
        at = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
        problems += [f"no volume {name}" for name in at.keys() - volumes.keys()]
        env = {one["name"]: one.get("value", "") for one in container["env"]}
        for name, value in env.items():
            problems += unknown_variable(name)
            if name in ("RAYGATE_STATE_DIR", "RAYGATE_CONFIG") and not value.startswith(tuple(at.values())):
                problems.append(f"{name} is on no volume")
        hooks = [container.get("lifecycle", {}).get("preStop", {}).get("exec", {})]
        for command in [container.get("command"), *(hook.get("command") for hook in hooks)]:
            if command and not _is_ours(command[0]):
                problems.append(f"the image has no {command[0]}")
        ports = {one["name"] for one in container.get("ports", ())}
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            port = container.get(probe, {}).get("httpGet", {}).get("port")
            if isinstance(port, str) and port not in ports:
                problems.append(f"{probe} asks port {port}")
            path = container.get(probe, {}).get("httpGet", {}).get("path", "/-/healthz")
            if path not in ("/-/healthz", "/api/healthz"):
                problems.append(f"{probe} asks {path}")
    return problems


def _is_ours(path: str) -> bool:
    ours = ROOT / path.removeprefix("/opt/raygate/")
    return path.startswith("/opt/raygate/") and os.access(ours, os.X_OK)


# Copies with one mistake.

Path_ = tuple[str | int, ...]


def keys_of(value: Json, at: Path_ = ()) -> Iterator[Path_]:
    """Where every key of a document stands."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield (*at, key)
            yield from keys_of(one, (*at, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from keys_of(one, (*at, number))


def misspelt(value: Json, at: Path_) -> Json:
    """The document with this one key one letter longer."""
    head, *rest = at
    if isinstance(value, list):
        return [misspelt(one, tuple(rest)) if number == head else one for number, one in enumerate(value)]
    if rest:
        return {key: misspelt(one, tuple(rest)) if key == head else one for key, one in value.items()}
    return {f"{key}x" if key == head else key: one for key, one in value.items()}
