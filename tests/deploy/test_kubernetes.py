"""The two shapes of deploy/kubernetes, rendered as kubectl does it."""

import copy
import time
import unittest

import program
import render
import rules
import schemas

SHAPES = {"sidecar": 29, "standalone": 30}


def find(objects, what):
    """The object of a kind and a name."""
    return next(item for item in objects if rules.name(item) == what)


def bridge(objects):
    """The pod of the bridge, and its container."""
    return next((pod, container) for _, pod, container in rules.bridges(objects))


def variable(objects, which, value):
    """Sets a variable of the bridge."""
    entry = next(entry for entry in bridge(objects)[1]["env"] if entry["name"] == which)
    entry["value"] = value


class Manifests(unittest.TestCase):
    """What is there is right, and what is wrong is found."""

    @classmethod
    def setUpClass(cls):
        cls.knowledge = program.knowledge(cls)
        monitoring = render.kustomize("monitoring")
        cls.objects = {shape: render.kustomize(shape) + monitoring for shape in SHAPES}

    def test_kubernetes_knows_every_field(self):
        for shape, oldest in SHAPES.items():
            with self.subTest(shape):
                self.assertEqual(schemas.complaints(self.objects[shape], oldest), [])

    def test_the_schemas_are_strict(self):
        objects = copy.deepcopy(self.objects["standalone"])
        bridge(objects)[0]["terminationGracePeriod"] = 1
        find(objects, "HorizontalPodAutoscaler/tfbridge")["spec"]["minReplicas"] = "two"
        find(objects, "ServiceMonitor/tfbridge")["spec"]["endpoints"][0]["paht"] = "/metrics"
        found = "\n".join(schemas.complaints(objects))
        for expected in ["'terminationGracePeriod' was unexpected", "'two' is not of type", "/paht is not known"]:
            self.assertIn(expected, found)

    def test_the_rules_hold(self):
        for shape, objects in self.objects.items():
            with self.subTest(shape):
                self.assertEqual(rules.problems(objects, self.knowledge), [])

    def test_the_image_is_that_of_this_version(self):
        for shape, objects in self.objects.items():
            with self.subTest(shape):
                self.assertEqual(bridge(objects)[1]["image"], f"tfbridge:{program.version()}")

    def test_both_shapes_have_what_they_are_for(self):
        kinds = {shape: {item["kind"] for item in objects} for shape, objects in self.objects.items()}
        common = {"Deployment", "Service", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget", "ConfigMap"}
        self.assertEqual(kinds["sidecar"], common | {"ServiceMonitor"})
        self.assertEqual(kinds["standalone"], common | {"ServiceMonitor", "HorizontalPodAutoscaler"})

    def test_what_is_wrong_is_found(self):
        def check(shape, change, expected):
            objects = copy.deepcopy(self.objects[shape])
            change(objects)
            with self.subTest(expected):
                self.assertIn(expected, "\n".join(rules.problems(objects, self.knowledge)))

        both = "sidecar"
        context = "securityContext"
        check(both, lambda o: bridge(o)[1][context].pop("capabilities"), "keeps capabilities")
        check(both, lambda o: bridge(o)[1][context].update(allowPrivilegeEscalation=True), "privileges can grow")
        check(both, lambda o: bridge(o)[1][context].update(readOnlyRootFilesystem=False), "root can be written")
        check(both, lambda o: bridge(o)[1][context].update(runAsUser=0), "may run as root")
        check(both, lambda o: bridge(o)[0][context].pop("seccompProfile"), "no seccomp profile")
        check(both, lambda o: bridge(o)[0].update(hostNetwork=True), "hostNetwork")
        check(both, lambda o: bridge(o)[0]["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
              "of a kind that is not allowed")
        check(both, lambda o: bridge(o)[0].pop("enableServiceLinks"), "names of Services become variables")
        check(both, lambda o: bridge(o)[0].pop("automountServiceAccountToken"), "a token of the API server")
        check(both, lambda o: bridge(o)[0]["initContainers"][0]["resources"].pop("limits"),
              "its memory has no limit")
        check(both, lambda o: bridge(o)[1]["env"].append({"name": "TFBRIDGE_MAX_MEMROY", "value": "1"}),
              "no variable TFBRIDGE_MAX_MEMROY")
        check(both, lambda o: variable(o, "TFBRIDGE_MAX_CONNECTIONS_PER_ADDRESS", "many"), "invalid value 'many'")
        check(both, lambda o: bridge(o)[1]["args"].append("--no-such-flag"), "--no-such-flag")
        check(both, lambda o: bridge(o)[1]["readinessProbe"]["httpGet"].update(path="/ready"),
              "asks for /ready, where there is nothing")
        check(both, lambda o: bridge(o)[1]["livenessProbe"]["httpGet"].update(path="/readyz"), "would be restarted")
        check(both, lambda o: bridge(o)[1]["startupProbe"]["httpGet"].update(port="api"), "another port")
        check(both, lambda o: bridge(o)[0]["initContainers"][0].pop("startupProbe"), "there is no startupProbe")
        check(both, lambda o: variable(o, "TFBRIDGE_LISTEN", "0.0.0.0:80"), "is not that of TFBRIDGE_LISTEN")
        check(both, lambda o: variable(o, "TFBRIDGE_ADMIN_LISTEN", "127.0.0.1:8502"), "out of the kubelet's reach")
        check(both, lambda o: find(o, "Service/tfbridge")["spec"]["ports"][0].update(targetPort="http"),
              "no port http")
        check(both, lambda o: find(o, "Service/tfbridge")["spec"]["ports"].append(
            {"name": "admin", "port": 8502, "targetPort": "admin"}), "leads clients to the admin port")
        check(both, lambda o: find(o, "NetworkPolicy/tfbridge")["spec"]["ingress"][1].pop("from"),
              "everybody gets to the port 8502")
        check(both, lambda o: o.remove(find(o, "NetworkPolicy/tfbridge")), "no policy is about it")
        check(both, lambda o: o.remove(find(o, "PodDisruptionBudget/tfbridge")), "0 disruption budgets")
        check(both, lambda o: o.remove(find(o, "ConfigMap/serving-models")), "no ConfigMap serving-models")
        check(both, lambda o: o.remove(find(o, "ServiceAccount/tfbridge")), "no ServiceAccount tfbridge")
        check(both, lambda o: find(o, "ServiceMonitor/tfbridge")["spec"]["endpoints"][0].update(path="/metric"),
              "there is nothing at /metric")
        check(both, lambda o: find(o, "ServiceMonitor/tfbridge")["spec"]["endpoints"][0].update(port="api"),
              "0 Services have the port api")
        check(both, lambda o: variable(o, "TFBRIDGE_DRAIN_TIMEOUT", "2m"), "it may take 130 s to end")
        check(both, lambda o: variable(o, "TFBRIDGE_DRAIN_DELAY", "0s"), "not enough for endpoints to go")
        check(both, lambda o: variable(o, "TFBRIDGE_MAX_MEMORY", "512MiB"), "it may need 1405 MiB")
        check(both, lambda o: variable(o, "TFBRIDGE_BACKEND", "unix:/run/other.sock"), "does not listen at")
        check(both, lambda o: bridge(o)[1].pop("volumeMounts"), "share no volume")
        check(both, lambda o: bridge(o)[0]["initContainers"][0].pop("restartPolicy"), "is no sidecar")
        check(both, lambda o: bridge(o)[0]["initContainers"].append(bridge(o)[0]["containers"].pop()),
              "would be stopped before")

        alone = "standalone"
        check(alone, lambda o: variable(o, "TFBRIDGE_BACKEND", "dns:///tfbridge:8500"), "is no headless Service")
        check(alone, lambda o: find(o, "Deployment/tfbridge")["spec"].update(replicas=2), "fixes the number")
        check(alone, lambda o: find(o, "HorizontalPodAutoscaler/tfbridge")["spec"]["scaleTargetRef"].update(
            name="bridge"), "there is no Deployment/bridge")
        check(alone, lambda o: find(o, "NetworkPolicy/tfbridge")["spec"]["egress"].pop(0), "from the port 53")
        check(alone, lambda o: find(o, "NetworkPolicy/tfbridge")["spec"]["egress"].pop(1), "from the port 8500")
        check(alone, lambda o: find(o, "Service/tensorflow-serving")["spec"]["ports"][0].update(port=80),
              "80 is not the pods' port 8500")
        check(alone, lambda o: find(o, "Deployment/tensorflow-serving")["spec"]["template"]["spec"]["containers"][0]
              ["lifecycle"]["preStop"]["sleep"].update(seconds=60), "takes all of the time to end")
        check(alone, lambda o: find(o, "Deployment/tfbridge")["spec"]["selector"]["matchLabels"].update(
            {"app.kubernetes.io/name": "tensorflow-serving"}), "does not select its pods")

    def test_the_drain_is_what_the_manifests_count_on(self):
        pod, container = bridge(self.objects["standalone"])
        entries = rules.environment(container)
        api, admin, grpc = (program.free_port() for _ in range(3))
        entries.update(
            TFBRIDGE_LISTEN=f"127.0.0.1:{api}", TFBRIDGE_ADMIN_LISTEN=f"127.0.0.1:{admin}",
            TFBRIDGE_BACKEND=f"http://127.0.0.1:{grpc}",
        )
        predict = "/v1/models/half_plus_two:predict", b'{"instances": [1.0]}'
        with (
            program.running(["mock", f"--listen=127.0.0.1:{grpc}"]),
            program.running(container["args"], **entries) as process,
        ):
            program.wait_for(api, "/v1/models/half_plus_two")
            ready = container["readinessProbe"]["httpGet"]["path"]
            alive = container["livenessProbe"]["httpGet"]["path"]
            self.assertEqual(program.ask(admin, ready)[0], 200)
            self.assertEqual(program.ask(api, *predict)[0], 200)
            start = time.monotonic()
            process.terminate()
            # A moment for the signal; all the rest is within the delay.
            time.sleep(0.2)
            self.assertEqual(program.ask(admin, ready)[0], 503)
            self.assertEqual(program.ask(admin, alive)[0], 200)
            delay = rules.seconds(entries["TFBRIDGE_DRAIN_DELAY"])
            while time.monotonic() < start + delay - 0.5:
                status, headers = program.ask(api, *predict)
                self.assertEqual((status, headers["connection"]), (200, "close"))
                time.sleep(0.05)
            self.assertEqual(process.wait(pod["terminationGracePeriodSeconds"]), 0)
            took = time.monotonic() - start
            self.assertGreater(took, delay)
            self.assertLess(took, delay + 5)


if __name__ == "__main__":
    unittest.main()
