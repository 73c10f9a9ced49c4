"""The chart deploy/helm/tfbridge, rendered as helm does it."""

import json
import unittest

import yaml

import program
import render
import rules
import schemas

CHART = render.DEPLOY / "helm" / "tfbridge"

# Sets of values, each of which must give objects that are right.
VALUES = {
    "the defaults": {},
    "a sidecar": {"mode": "sidecar", "replicas": 5},
    "a fixed number": {"autoscaling": {"enabled": False}, "replicas": 3},
    "everything": {
        "backends": ["dns+tls:///serving.models.svc:8500", "http://10.0.0.1:8500"],
        "image": {"repository": "host.example/team/tfbridge", "tag": "1.2.3", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "pull"}],
        "settings": {
            "max-elements": 268435456, "retry-budget": 0.25, "pretty": True, "nan": "null",
            "drain-timeout": "40s", "cors-origin": "https://a.example,https://b.example",
        },
        "terminationGracePeriodSeconds": 90,
        "service": {"type": "LoadBalancer", "port": 443, "annotations": {"a.example/b": "c"}},
        "podAnnotations": {"a.example/b": "c"},
        "podLabels": {"team": "models"},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "models", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]}}},
        "priorityClassName": "high",
        "podDisruptionBudget": {"maxUnavailable": "25%"},
        "serviceMonitor": {"enabled": True, "interval": "30s", "labels": {"release": "prometheus"}},
    },
    "a sidecar with everything": {
        "mode": "sidecar",
        "serving": {"args": ["--enable_batching=true"], "modelsClaim": "mine"},
        "serviceMonitor": {"enabled": True},
    },
}

# Values that must be refused, each with a part of the reason.
REFUSED = [
    ({"mode": "both"}, "mode"),
    ({"backends": []}, "minItems"),
    ({"backends": ["serving"]}, "backends"),
    ({"replicas": "two"}, "replicas"),
    ({"replica": 2}, "replica"),
    ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ({"autoscaling": {"averageUtilization": 700}}, "averageUtilization"),
    ({"settings": {"max_memory": "1GiB"}}, "max_memory"),
    ({"settings": {"listen": "0.0.0.0:80"}}, "listen"),
    ({"settings": {"drain-delay": "soon"}}, "drain-delay"),
    ({"settings": {"pass-header": ["a", "b"]}}, "pass-header"),
    ({"settings": {"drain-timeout": "2m"}}, "terminationGracePeriodSeconds must be at least 130"),
    ({"service": {"port": 0}}, "port"),
    ({"networkPolicy": {"prometheus": {"podLabels": {"a": 1}}}}, "podLabels"),
    ({"serving": {"modelsConfig": "affine100"}}, "modelsConfig"),
    ({"serving": {"args": ["enable_batching"]}}, "args"),
]


def keys(tree, path=""):
    """The paths of all objects in a tree, and of what is in them."""
    for key, value in tree.items():
        yield f"{path}/{key}"
        if isinstance(value, dict):
            yield from keys(value, f"{path}/{key}")


def properties(schema, path=""):
    """The paths that a schema names."""
    for key, value in schema.get("properties", {}).items():
        yield f"{path}/{key}"
        yield from properties(value, f"{path}/{key}")


class Chart(unittest.TestCase):
    """What it makes is right, and it refuses what is not."""

    @classmethod
    def setUpClass(cls):
        cls.knowledge = program.knowledge(cls)

    def test_helm_has_nothing_against_it(self):
        self.assertIn("0 chart(s) failed", render.run(render.TOOLS / "helm", "lint", "--strict", CHART))

    def test_kubernetes_knows_every_field(self):
        for case, values in VALUES.items():
            with self.subTest(case):
                self.assertEqual(schemas.complaints(render.chart(values)), [])

    def test_the_rules_hold(self):
        for case, values in VALUES.items():
            with self.subTest(case):
                self.assertEqual(rules.problems(render.chart(values), self.knowledge), [])

    def test_files_from_secrets_are_mounted_where_they_are_read(self):
        objects = render.chart({"authSecret": "tokens", "tlsSecret": "certificate"})
        self.assertEqual(schemas.complaints(objects), [])
        [(_, pod, bridge)] = rules.bridges(objects)
        entries = rules.environment(bridge)
        mounts = {mount["mountPath"]: mount["name"] for mount in bridge["volumeMounts"]}
        secrets = {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"]}
        for variable, secret in [("AUTH_FILE", "tokens"), ("TLS_CERT", "certificate"), ("TLS_KEY", "certificate")]:
            directory = entries[f"TFBRIDGE_{variable}"].rpartition("/")[0]
            self.assertEqual(secrets[mounts[directory]], secret)
        # All rules but the one that has the program read the files, which are not here.
        self.assertLessEqual(set(entries), self.knowledge.variables)

    def test_values_become_variables_as_they_are(self):
        [(_, _, bridge)] = rules.bridges(render.chart(VALUES["everything"]))
        entries = rules.environment(bridge)
        self.assertEqual(bridge["image"], "host.example/team/tfbridge:1.2.3")
        self.assertEqual(entries["TFBRIDGE_MAX_ELEMENTS"], "268435456")
        self.assertEqual(entries["TFBRIDGE_RETRY_BUDGET"], "0.25")
        self.assertEqual(entries["TFBRIDGE_PRETTY"], "true")
        self.assertEqual(entries["TFBRIDGE_DRAIN_DELAY"], "5s")

    def test_the_chart_is_of_this_version(self):
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
        self.assertEqual([chart["version"], chart["appVersion"]], [program.version()] * 2)

    def test_the_schema_names_every_value_and_no_other(self):
        values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
        schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
        free = ("/settings/", "/resources/", "/serving/resources/", "Labels/")
        named = {path for path in properties(schema) if path != "/global"}
        given = {path for path in keys(values) if not any(part in path for part in free)}
        self.assertEqual(named - {"/settings/drain-delay", "/settings/drain-timeout"}, given)

    def test_what_cannot_be_meant_is_refused(self):
        for values, expected in REFUSED:
            with self.subTest(str(values)):
                with self.assertRaises(RuntimeError) as caught:
                    render.chart(values)
                self.assertIn(expected, str(caught.exception))

    def test_the_notes_say_where_it_is(self):
        text = render.notes({"tlsSecret": "certificate", "networkPolicy": {"enabled": False}})
        for expected in ["https://models-tfbridge.serving:8501", "no NetworkPolicy", "no authSecret"]:
            self.assertIn(expected, text)
        self.assertNotIn("no NetworkPolicy", render.notes({}))

    def test_a_release_of_the_chart_s_name_keeps_it(self):
        names = {item["metadata"]["name"] for item in render.chart({}, "tfbridge")}
        self.assertEqual(names, {"tfbridge", "tfbridge-admin"})


if __name__ == "__main__":
    unittest.main()
