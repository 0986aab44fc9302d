"""The Kubernetes manifests as they are deployed: schemas, what fits together, what a restricted namespace asks."""

from __future__ import annotations

import importlib.util
import ipaddress
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from consumer.observe.site import POLL_LIMIT_SECONDS
from consumer.settings.load import settings_from
from consumer.settings.model import Settings
from consumer.source.broker import CLOSE_SECONDS

ROOT = Path(__file__).parents[3]
K8S = ROOT / "deploy/k8s"
OVERLAYS = ("staging", "production")
RELEASES = ("1.30", "1.33", "1.37")
OURS = "monitoring.coreos.com"
NAME = {"app.kubernetes.io/name": "adapty-sink"}
SECRET = {
    "staging": {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"},
    "production": {"KAFKA_USER": "user", "KAFKA_PASSWORD": "secret"},
}
GIB = 1 << 30

Object = dict[str, Any]


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def objects(overlay: str, program: Callable[[str], Path]) -> list[Object]:
    command = [str(program("kustomize")), "build", str(K8S / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


def one(objects: Iterable[Object], kind: str) -> Object:
    (found,) = (item for item in objects if item["kind"] == kind)
    return found


@pytest.fixture
def pod(objects: list[Object]) -> Object:
    template: Object = one(objects, "StatefulSet")["spec"]["template"]
    return template


@pytest.fixture
def worker(pod: Object) -> Object:
    (container,) = pod["spec"]["containers"]
    found: Object = container
    return found


@pytest.fixture
def sink(objects: list[Object], overlay: str, worker: Object) -> Settings:
    """The settings as a pod reads them: its environment is what the manifests and the Secret give it."""
    environment = {entry["name"]: f"value-of-{entry['name']}" for entry in worker["env"]} | SECRET[overlay]
    document = tomllib.loads(one(objects, "ConfigMap")["data"]["sink.toml"])
    return settings_from(document, Path("/etc/adapty-sink"), environment, "sink.toml")


def test_the_objects_are_those_of_the_contract(objects: list[Object]) -> None:
    assert sorted(item["kind"] for item in objects) == [
        "ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "PodMonitor", "PrometheusRule", "Service",
        "ServiceAccount", "StatefulSet",
    ]  # fmt: skip
    assert {item["metadata"]["namespace"] for item in objects} in (
        {"adapty-sink-staging"},
        {"adapty-sink"},
    )


@pytest.mark.parametrize("release", RELEASES)
def test_kubernetes_takes_them(objects: list[Object], release: str) -> None:
    for item in objects:
        if not item["apiVersion"].startswith(OURS):
            kubernetes_validate.validate(item, release, strict=True)


def test_a_misspelt_field_would_be_found(objects: list[Object]) -> None:
    item = one(objects, "StatefulSet")
    spoilt = {**item, "spec": {**item["spec"], "replica": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoilt, RELEASES[-1], strict=True)


@pytest.mark.parametrize(("kind", "file"), [("PodMonitor", "podmonitors"), ("PrometheusRule", "prometheusrules")])
def test_the_prometheus_operator_takes_them(
    objects: list[Object], program: Callable[[str], Path], kind: str, file: str
) -> None:
    definition = yaml.safe_load((program("prometheus-crds") / f"{OURS}_{file}.yaml").read_text())
    schema = closed(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"])
    spec = one(objects, kind)["spec"]
    jsonschema.Draft7Validator(schema).validate(spec)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate({**spec, "misspelt": 1})


def closed(schema: Any) -> Any:
    """The schema without room for fields that it does not name, as the API server prunes them."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    inner = {key: closed(value) for key, value in schema.items()}
    if "properties" in inner and "additionalProperties" not in inner:
        inner["additionalProperties"] = False
    return inner


def test_the_rules_are_those_of_deploy_prometheus(objects: list[Object]) -> None:
    source = yaml.safe_load((ROOT / "deploy/prometheus/adapty-sink.yml").read_text())
    assert one(objects, "PrometheusRule")["spec"] == source, "run deploy/k8s/prometheus_rule.py"


def test_the_address_of_the_runbook_can_be_given() -> None:
    spec = importlib.util.spec_from_file_location("prometheus_rule", K8S / "prometheus_rule.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made = script.rule_object("https://wiki.example/sink")
    links = [rule["annotations"]["runbook_url"] for group in made["spec"]["groups"] for rule in group["rules"]]
    assert links
    assert all(re.fullmatch(r"https://wiki\.example/sink#adaptysink[a-z]+", link) for link in links)


def test_everything_that_selects_pods_selects_these_and_no_others(objects: list[Object], pod: Object) -> None:
    assert pod["metadata"]["labels"] == NAME
    policy = one(objects, "NetworkPolicy")["spec"]
    selectors = [
        one(objects, "StatefulSet")["spec"]["selector"]["matchLabels"],
        one(objects, "Service")["spec"]["selector"],
        one(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(objects, "PodMonitor")["spec"]["selector"]["matchLabels"],
        policy["podSelector"]["matchLabels"],
        *(spread["labelSelector"]["matchLabels"] for spread in pod["spec"]["topologySpreadConstraints"]),
    ]
    assert all(selector == NAME for selector in selectors)
    assert policy["egress"][0]["to"][0]["podSelector"]["matchLabels"] == {"k8s-app": "kube-dns"}


def test_names_lead_to_each_other(objects: list[Object], pod: Object, worker: Object) -> None:
    spec = one(objects, "StatefulSet")["spec"]
    assert spec["serviceName"] == one(objects, "Service")["metadata"]["name"]
    assert one(objects, "Service")["spec"]["clusterIP"] == "None"
    assert pod["spec"]["serviceAccountName"] == one(objects, "ServiceAccount")["metadata"]["name"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["settings"]["configMap"]["name"] == one(objects, "ConfigMap")["metadata"]["name"]
    claims = {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
    assert {mount["name"] for mount in worker["volumeMounts"]} == claims | volumes.keys()
    ports = {port["name"] for port in worker["ports"]}
    used = {worker[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    used |= {endpoint["port"] for endpoint in one(objects, "PodMonitor")["spec"]["podMetricsEndpoints"]}
    assert used == ports


def test_settings_load_and_fit_the_pod(objects: list[Object], sink: Settings, worker: Object) -> None:
    mounts = {mount["name"]: mount["mountPath"] for mount in worker["volumeMounts"]}
    assert str(sink.spool.directory) == mounts["spool"]
    assert sink.http.address == ("0.0.0.0", worker["ports"][0]["containerPort"])  # noqa: S104 - inside its pod
    assert sink.kafka.instance_id == "value-of-POD_NAME"
    assert worker["args"][1] == f"{mounts['settings']}/sink.toml"
    claim = one(objects, "StatefulSet")["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
    size = int(claim.removesuffix("Gi")) * GIB
    assert sink.spool.max_bytes + sink.spool.min_free_bytes < size * 0.95, "file systems keep some for themselves"


def test_the_namespace_may_be_restricted(pod: Object, worker: Object) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, profile restricted, and a bit more."""
    rules, own = pod["spec"]["securityContext"], worker["securityContext"]
    assert rules["runAsNonRoot"] is True
    assert rules["runAsUser"] == rules["runAsGroup"] == rules["fsGroup"] == image_user()
    assert rules["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod["spec"].keys()
    assert not any("hostPath" in volume for volume in pod["spec"]["volumes"])
    assert pod["spec"]["automountServiceAccountToken"] is False


def image_user() -> int:
    found = re.search(r"^USER (\d+):\1$", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_no_secret_stands_in_a_manifest(objects: list[Object], worker: Object, overlay: str) -> None:
    assert not any(item["kind"] == "Secret" for item in objects)
    assert [source["secretRef"]["name"] for source in worker["envFrom"]] == ["adapty-sink"]
    text = one(objects, "ConfigMap")["data"]["sink.toml"]
    given = set(re.findall(r"^[^#\n]*\$\{(\w+)\}", text, re.MULTILINE))
    assert given == SECRET[overlay].keys() | {"POD_NAME"}
    assert all(name in text.splitlines()[0] for name in SECRET[overlay]), "the head of the file names them"


def test_there_is_time_to_stop(pod: Object, worker: Object) -> None:
    before = int(worker["lifecycle"]["preStop"]["exec"]["command"][1])
    assert before + 2 * CLOSE_SECONDS < pod["spec"]["terminationGracePeriodSeconds"]


def test_kubernetes_waits_longer_than_the_worker_itself(worker: Object) -> None:
    """What only was slow for a moment is not killed: /livez has a patience of its own."""
    probe = worker["livenessProbe"]
    assert probe["httpGet"]["path"] == "/livez"
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 30
    assert POLL_LIMIT_SECONDS >= 60
    assert worker["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_resources_are_asked_for(worker: Object) -> None:
    resources: Mapping[str, Mapping[str, str]] = worker["resources"]
    assert {"cpu", "memory"} <= resources["requests"].keys()
    assert "memory" in resources["limits"]
    assert "cpu" not in resources["limits"]


def test_images_are_pinned(worker: Object) -> None:
    assert re.fullmatch(r"\S+/adapty-sink:\d+\.\d+\.\d+", worker["image"])


def test_the_role_is_the_overlays(objects: list[Object], overlay: str) -> None:
    annotations = one(objects, "ServiceAccount")["metadata"].get("annotations", {})
    role = annotations.get("eks.amazonaws.com/role-arn")
    assert role == ("arn:aws:iam::000000000000:role/adapty-sink-production" if overlay == "production" else None)


def test_the_policy_lets_out_to_what_the_settings_name(objects: list[Object], sink: Settings) -> None:
    open_ports: list[tuple[int, int]] = []
    for rule in one(objects, "NetworkPolicy")["spec"]["egress"]:
        open_ports += [(port["port"], port.get("endPort", port["port"])) for port in rule["ports"]]
    wanted = [int(server.rpartition(":")[2]) for server in sink.kafka.bootstrap_servers.split(",")]
    endpoint = sink.streams[0].destination.endpoint_url
    wanted.append(int(endpoint.rpartition(":")[2]) if endpoint else 443)
    if sink.schema_registry is not None:
        wanted.append(int(sink.schema_registry.url.rpartition(":")[2]))
    assert all(any(first <= port <= last for first, last in open_ports) for port in wanted), wanted


def test_the_policy_lets_out_to_nobody_else(objects: list[Object]) -> None:
    """Each rule says where to; what is local to the node only where EKS gives out credentials."""
    rules = one(objects, "NetworkPolicy")["spec"]["egress"]
    assert all(rule["to"] for rule in rules)
    agent = [ipaddress.ip_address("169.254.170.23"), ipaddress.ip_address("fd00:ec2::23")]
    metadata = [ipaddress.ip_address("169.254.169.254"), ipaddress.ip_address("fd00:ec2::254")]
    assert [_ports_to(rules, address) for address in agent] == [{80}, {80}]
    assert [_ports_to(rules, address) for address in metadata] == [set(), set()]
    assert _ports_to(rules, ipaddress.ip_address("52.218.0.1")) == {443}
    assert _ports_to(rules, ipaddress.ip_address("10.0.3.4")) == {443, 8081, 9092}


def _ports_to(rules: list[Object], address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> set[int]:
    """The first port of each range that is open to the address."""
    blocks = [(rule, each["ipBlock"]) for rule in rules for each in rule["to"] if "ipBlock" in each]
    return {
        port["port"]
        for rule, block in blocks
        for port in rule["ports"]
        if address in ipaddress.ip_network(block["cidr"])
        and not any(address in ipaddress.ip_network(other) for other in block.get("except", []))
    }
