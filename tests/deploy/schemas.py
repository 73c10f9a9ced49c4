"""Holds objects to the schemas of Kubernetes and of the Prometheus operator."""

import kubernetes_validate
from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor

# The versions that the manifests are for.
OLDEST, NEWEST = 30, 37


def complaints(objects, oldest=OLDEST):
    """What the schemas of all versions of Kubernetes say against the objects."""
    found = []
    for item in objects:
        what = f"{item['kind']}/{item['metadata']['name']}"
        if item["kind"] == "ServiceMonitor":
            found += [f"{what}: {complaint}" for complaint in monitor_complaints(item)]
            continue
        for minor in range(oldest, NEWEST + 1):
            try:
                kubernetes_validate.validate(item, f"1.{minor}", strict=True)
            except kubernetes_validate.ValidationError as error:
                path = ".".join(map(str, error.path))
                found.append(f"{what}, Kubernetes 1.{minor}, {path}: {error.message}")
    return found


def monitor_complaints(item):
    """The same for a ServiceMonitor, whose model drops what it does not know."""
    try:
        model = ServiceMonitor.model_validate(item)
    except ValueError as error:
        return [str(error)]
    known = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return list(differences(item, known, ""))


def differences(given, known, path):
    """The paths in what is given that the model has not kept."""
    if isinstance(given, dict) and isinstance(known, dict):
        for key, value in given.items():
            yield from differences(value, known.get(key), f"{path}/{key}")
    elif isinstance(given, list) and isinstance(known, list) and len(given) == len(known):
        for index, pair in enumerate(zip(given, known)):
            yield from differences(*pair, f"{path}/{index}")
    elif given != known:
        yield f"{path} is not known"
