"""What must be true of a set of Kubernetes objects.

Every rule is a generator over what it finds wrong, as text; `RULES` lists
them, and `problems` asks them all. The rules know objects only: what the
program says is given to them as `Knowledge`.
"""

import re
from dataclasses import dataclass
from typing import Callable

# The volumes that the Pod Security Standard "restricted" allows.
VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}

# A bridge takes up to this many times its --max-memory, and these bytes for each connection of a client.
MEMORY_FACTOR = 2.5
CONNECTION = 32 << 10

# Seconds from the end of what runs to the end of the process, with room to spare.
FAREWELL = 5


@dataclass
class Knowledge:
    """What the program says of itself."""

    variables: set[str]
    status: Callable[[str], int]
    check: Callable[[list[str], dict[str, str]], str]


def of_kind(objects, *kinds):
    """The objects of these kinds."""
    return [item for item in objects if item["kind"] in kinds]


def name(item):
    """How an object is called in what the rules say."""
    return f"{item['kind']}/{item['metadata']['name']}"


def pods(objects):
    """Every workload with its pod's labels and specification."""
    for item in of_kind(objects, "Deployment", "StatefulSet", "DaemonSet"):
        template = item["spec"]["template"]
        yield item, template["metadata"]["labels"], template["spec"]


def containers(pod):
    """The containers of a pod, those that run beside the others included."""
    return pod.get("initContainers", []) + pod["containers"]


def bridges(objects):
    """Every workload with a bridge: itself, the pod, and the bridge's container."""
    for item, _, pod in pods(objects):
        for container in containers(pod):
            if container["name"] == "tfbridge":
                yield item, pod, container


def environment(container):
    """The variables of a container that have a value in the manifest."""
    return {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}


def seconds(text):
    """A time as the flags have it, in seconds."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"(\d+)(ms|s|m|h)", text))


def size(text):
    """A number of bytes, as the flags or as Kubernetes have it."""
    number, unit = re.fullmatch(r"(\d+)\s*([KMG]i)B?", text).groups()
    return int(number) << {"Ki": 10, "Mi": 20, "Gi": 30}[unit]


def selects(selector, labels):
    """Whether a map of labels is part of those."""
    return all(labels.get(key) == value for key, value in selector.items())


def port_of(pod, port):
    """The number of a port that a pod has, by name or by number."""
    for container in containers(pod):
        for entry in container.get("ports", []):
            if port in (entry.get("name"), entry["containerPort"]):
                return entry["containerPort"]
    return None


def restricted(objects, _):
    """The Pod Security Standard "restricted", and a read-only root besides."""
    for item, _labels, pod in pods(objects):
        context = pod.get("securityContext", {})
        for key in ["hostNetwork", "hostPID", "hostIPC"]:
            if pod.get(key):
                yield f"{name(item)}: {key}"
        for volume in pod.get("volumes", []):
            if not VOLUMES.issuperset(set(volume) - {"name"}):
                yield f"{name(item)}: the volume {volume['name']} is of a kind that is not allowed"
        for container in containers(pod):
            own = container.get("securityContext", {})
            where = f"{name(item)}, {container['name']}"
            both = {**context, **own}
            if own.get("privileged") or own.get("procMount", "Default") != "Default":
                yield f"{where}: it is privileged"
            if own.get("allowPrivilegeEscalation") is not False:
                yield f"{where}: privileges can grow"
            capabilities = own.get("capabilities", {})
            if "ALL" not in capabilities.get("drop", []):
                yield f"{where}: it keeps capabilities"
            if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
                yield f"{where}: it adds capabilities"
            if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
                yield f"{where}: it may run as root"
            if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
                yield f"{where}: it has no seccomp profile"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{where}: its root can be written"
            if any("hostPort" in port for port in container.get("ports", [])):
                yield f"{where}: it takes a port of the host"


def modest(objects, _):
    """No access to the API server, no variables from Services, and resources that are told."""
    for item, _labels, pod in pods(objects):
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{name(item)}: it gets a token of the API server"
        if pod.get("enableServiceLinks") is not False:
            yield f"{name(item)}: the names of Services become variables"
        for container in containers(pod):
            resources = container.get("resources", {})
            if not {"cpu", "memory"} <= set(resources.get("requests", {})):
                yield f"{name(item)}, {container['name']}: it requests no CPU or no memory"
            if "memory" not in resources.get("limits", {}):
                yield f"{name(item)}, {container['name']}: its memory has no limit"


def settings(objects, knowledge):
    """The program takes the arguments and variables."""
    for item, _pod, container in bridges(objects):
        command, *arguments = container["args"]
        if command != "serve":
            yield f"{name(item)}: the command is {command}"
        entries = environment(container)
        # What OpenTelemetry has the name of, every program reads.
        own = {key for key in entries if not key.startswith("OTEL_")}
        for variable in sorted(own - knowledge.variables):
            yield f"{name(item)}: there is no variable {variable}"
        complaint = knowledge.check(arguments, entries)
        if complaint:
            yield f"{name(item)}: {complaint}"


def probes(objects, knowledge):
    """Every bridge is probed at paths of the admin port, and every model server before it gets calls."""
    for item, pod, container in bridges(objects):
        admin = int(environment(container)["TFBRIDGE_ADMIN_LISTEN"].rpartition(":")[2])
        for kind in ["startupProbe", "livenessProbe", "readinessProbe"]:
            probe = container.get(kind, {}).get("httpGet")
            if probe is None:
                yield f"{name(item)}: there is no {kind}"
                continue
            if port_of(pod, probe["port"]) != admin:
                yield f"{name(item)}: the {kind} asks another port than the admin port"
            if knowledge.status(probe["path"]) == 404:
                yield f"{name(item)}: the {kind} asks for {probe['path']}, where there is nothing"
        if container.get("livenessProbe", {}).get("httpGet", {}).get("path") == "/readyz":
            yield f"{name(item)}: a bridge without model servers would be restarted"
    for item, _labels, pod in pods(objects):
        for container in containers(pod):
            if "startupProbe" not in container:
                yield f"{name(item)}, {container['name']}: there is no startupProbe"


def ports(objects, _):
    """The addresses that a bridge listens on are ports of its container, on all of the pod's addresses."""
    for item, pod, container in bridges(objects):
        for variable, port in [("TFBRIDGE_LISTEN", "api"), ("TFBRIDGE_ADMIN_LISTEN", "admin")]:
            address, _, number = environment(container)[variable].rpartition(":")
            if address != "0.0.0.0":
                yield f"{name(item)}: {variable} is out of the kubelet's reach"
            if port_of(pod, port) != int(number):
                yield f"{name(item)}: the port {port} is not that of {variable}"


def services(objects, _):
    """Services and policies lead to ports that the pods have."""
    for service in of_kind(objects, "Service"):
        selected = [pod for _, labels, pod in pods(objects) if selects(service["spec"]["selector"], labels)]
        if not selected:
            yield f"{name(service)}: it selects no pod"
        for port in service["spec"]["ports"]:
            for pod in selected:
                number = port_of(pod, port["targetPort"])
                if number is None:
                    yield f"{name(service)}: its pods have no port {port['targetPort']}"
                # Of a headless one the clients choose the port.
                elif service["spec"].get("clusterIP") == "None" and number != port["port"]:
                    yield f"{name(service)}: {port['port']} is not the pods' port {number}"
    for service in of_kind(objects, "Service"):
        targets = {port["targetPort"] for port in service["spec"]["ports"]}
        if {"api", "admin"} <= targets:
            yield f"{name(service)}: it leads clients to the admin port"


def policies(objects, _):
    """Every pod has a policy; the admin port and gRPC are for some only; bridges reach their backends."""
    for item, labels, pod in pods(objects):
        found = [
            policy["spec"] for policy in of_kind(objects, "NetworkPolicy")
            if selects(policy["spec"]["podSelector"]["matchLabels"], labels)
        ]
        if not found:
            yield f"{name(item)}: no policy is about it"
        for policy in found:
            for rule in policy["ingress"]:
                for port in rule["ports"]:
                    number = port_of(pod, port["port"])
                    if number is None:
                        yield f"{name(item)}: a policy is about the port {port['port']}, which is not there"
                    if number != port_of(pod, "api") and not rule.get("from"):
                        yield f"{name(item)}: everybody gets to the port {port['port']}"
            if "Egress" in policy["policyTypes"]:
                allowed = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
                for _, _, container in bridges([item]):
                    backend = environment(container).get("TFBRIDGE_BACKEND", "")
                    needed = {int(port) for port in re.findall(r":(\d+)", backend)}
                    if backend.startswith("dns"):
                        needed.add(53)
                    for port in sorted(needed - allowed):
                        yield f"{name(item)}: a policy keeps it from the port {port}"


def selectors(objects, _):
    """Workloads select their own pods, and budgets and autoscalers find theirs."""
    for item, labels, pod in pods(objects):
        if not selects(item["spec"]["selector"]["matchLabels"], labels):
            yield f"{name(item)}: it does not select its pods"
        for spread in pod.get("topologySpreadConstraints", []):
            if not selects(spread["labelSelector"]["matchLabels"], labels):
                yield f"{name(item)}: its topology spread is about other pods"
        others = [other for other, other_labels, _ in pods(objects)
                  if other is not item and selects(item["spec"]["selector"]["matchLabels"], other_labels)]
        for other in others:
            yield f"{name(item)}: it selects the pods of {name(other)}, too"
        budgets = [budget for budget in of_kind(objects, "PodDisruptionBudget")
                   if selects(budget["spec"]["selector"]["matchLabels"], labels)]
        if len(budgets) != 1:
            yield f"{name(item)}: it has {len(budgets)} disruption budgets"
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        named = f"{target['kind']}/{target['name']}"
        found = [item for item, _, _ in pods(objects) if name(item) == named]
        if not found:
            yield f"{name(scaler)}: there is no {named}"
        if any("replicas" in item["spec"] for item in found):
            yield f"{name(scaler)}: {named} fixes the number that it is to choose"
    for monitor in of_kind(objects, "ServiceMonitor"):
        found = [service for service in of_kind(objects, "Service")
                 if selects(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"])]
        for endpoint in monitor["spec"]["endpoints"]:
            named = [port for service in found for port in service["spec"]["ports"]
                     if port["name"] == endpoint["port"]]
            if len(named) != 1:
                yield f"{name(monitor)}: {len(named)} Services have the port {endpoint['port']}"


def scraped(objects, knowledge):
    """Prometheus asks for what there is."""
    for monitor in of_kind(objects, "ServiceMonitor"):
        for endpoint in monitor["spec"]["endpoints"]:
            if knowledge.status(endpoint["path"]) != 200:
                yield f"{name(monitor)}: there is nothing at {endpoint['path']}"


def grace(objects, _):
    """The time that Kubernetes gives a pod is more than it takes to drain it."""
    for item, pod, container in bridges(objects):
        entries = environment(container)
        delay, timeout = seconds(entries["TFBRIDGE_DRAIN_DELAY"]), seconds(entries["TFBRIDGE_DRAIN_TIMEOUT"])
        if delay < 5:
            yield f"{name(item)}: {delay:g} s are not enough for endpoints to go"
        needed = delay + timeout + FAREWELL
        if pod["terminationGracePeriodSeconds"] < needed:
            yield f"{name(item)}: it may take {needed:g} s to end"
        if container in pod.get("initContainers", []):
            yield f"{name(item)}: the model server would be stopped before the bridge has drained"
    for item, _labels, pod in pods(objects):
        for container in containers(pod):
            hook = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            if hook + FAREWELL > pod["terminationGracePeriodSeconds"]:
                yield f"{name(item)}, {container['name']}: its preStop hook takes all of the time to end"


def memory(objects, _):
    """The limit of a bridge's memory is what its requests and connections may come to."""
    for item, _pod, container in bridges(objects):
        entries = environment(container)
        needed = MEMORY_FACTOR * size(entries["TFBRIDGE_MAX_MEMORY"])
        needed += CONNECTION * int(entries["TFBRIDGE_MAX_CONNECTIONS"])
        if size(container["resources"]["limits"]["memory"]) < needed:
            yield f"{name(item)}: it may need {needed / 2**20:g} MiB"


def volumes(objects, _):
    """What is mounted is there."""
    known = {name(item) for item in objects}
    for item, _labels, pod in pods(objects):
        there = {volume["name"] for volume in pod.get("volumes", [])}
        mounted = {mount["name"] for container in containers(pod) for mount in container.get("volumeMounts", [])}
        for volume in sorted(mounted ^ there):
            yield f"{name(item)}: the volume {volume} is not there, or nobody mounts it"
        for volume in pod.get("volumes", []):
            config = volume.get("configMap", {}).get("name")
            if config and f"ConfigMap/{config}" not in known:
                yield f"{name(item)}: there is no ConfigMap {config}"
        account = pod.get("serviceAccountName")
        if account and f"ServiceAccount/{account}" not in known:
            yield f"{name(item)}: there is no ServiceAccount {account}"


def backends(objects, _):
    """Where a bridge looks for model servers there are some, unless they are not part of the objects."""
    headless = {
        service["metadata"]["name"]: service for service in of_kind(objects, "Service")
        if service["spec"].get("clusterIP") == "None"
    }
    for item, pod, container in bridges(objects):
        backend = environment(container).get("TFBRIDGE_BACKEND", "")
        serving = [other for other in containers(pod) if other["name"] == "serving"]
        if backend.startswith("unix:"):
            path = backend.removeprefix("unix:")
            for other in serving:
                if f"--grpc_socket_path={path}" not in other["args"]:
                    yield f"{name(item)}: the model server does not listen at {path}"
                if other.get("restartPolicy") != "Always":
                    yield f"{name(item)}: the model server is no sidecar"
            mounts = [
                {mount["name"] for mount in each.get("volumeMounts", [])
                 if path.startswith(mount["mountPath"] + "/")}
                for each in [container, *serving]
            ]
            if not serving or not set.intersection(*mounts):
                yield f"{name(item)}: the bridge and the model server share no volume for {path}"
        elif any(other["metadata"]["name"] == "tensorflow-serving" for other, _, _ in pods(objects)):
            match = re.fullmatch(r"dns:///([a-z0-9-]+):(\d+)", backend)
            service = match and headless.get(match[1])
            if not service or int(match[2]) not in {port["port"] for port in service["spec"]["ports"]}:
                yield f"{name(item)}: {backend} is no headless Service"


RULES = [
    restricted, modest, settings, probes, ports, services, policies, selectors, scraped, grace, memory, volumes,
    backends,
]


def problems(objects, knowledge):
    """Everything that is wrong."""
    return [problem for rule in RULES for problem in rule(objects, knowledge)]
