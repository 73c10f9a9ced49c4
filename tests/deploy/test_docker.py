"""The image and the compose file, as far as they can be checked without a container engine."""

import json
import re
import subprocess
import unittest

import jsonschema
import yaml

import program
import render
import rules

HADOLINT = render.TOOLS / "venv" / "bin" / "hadolint"
COMPOSE = yaml.safe_load((render.DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


def lint(dockerfile):
    """What hadolint says against a Dockerfile."""
    command = [HADOLINT, "--no-color", "-"]
    done = subprocess.run(command, check=False, capture_output=True, input=dockerfile, text=True, timeout=30)
    return done.stdout + done.stderr


def instructions(dockerfile):
    """The instructions of the last stage, as pairs of a word and the rest."""
    lines = [line for line in dockerfile.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    pairs = [line.split(maxsplit=1) for line in lines]
    last = max(index for index, (word, _) in enumerate(pairs) if word == "FROM")
    return pairs[last:]


class Image(unittest.TestCase):
    """deploy/Dockerfile."""

    @classmethod
    def setUpClass(cls):
        cls.text = (render.DEPLOY / "Dockerfile").read_text(encoding="utf-8")
        cls.stage = instructions(cls.text)

    def test_the_linter_has_nothing_to_say(self):
        self.assertEqual(lint(self.text), "")

    def test_the_linter_would_say_it(self):
        self.assertIn("DL3002", lint(self.text + "USER root\n"))

    def test_the_last_stage_is_the_program_and_certificates(self):
        self.assertEqual(self.stage[0], ["FROM", "scratch"])
        copied = [rest.split()[-1] for word, rest in self.stage if word in ("COPY", "ADD")]
        self.assertEqual(copied, ["/etc/ssl/certs/ca-certificates.crt", "/tfbridge"])
        self.assertNotIn("RUN", [word for word, _ in self.stage])

    def test_it_runs_as_the_user_of_the_manifests(self):
        users = [rest for word, rest in self.stage if word == "USER"]
        pod = next(pod for _, pod, _ in rules.bridges(render.kustomize("standalone")))
        context = pod["securityContext"]
        self.assertEqual(users, [f"{context['runAsUser']}:{context['runAsGroup']}"])

    def test_the_check_is_a_command_of_the_program(self):
        entry = dict(self.stage)
        check = json.loads(entry["HEALTHCHECK"].partition("CMD ")[2])
        self.assertEqual([check[0]], json.loads(entry["ENTRYPOINT"]))
        render.run(program.PROGRAM, *check[1:], "--help")
        render.run(program.PROGRAM, *json.loads(entry["CMD"]), "--help")

    def test_the_port_is_the_default(self):
        ports = [rest for word, rest in self.stage if word == "EXPOSE"]
        defaults = render.run(program.PROGRAM, "check-config", "--print")
        self.assertEqual(len(ports), 1)
        self.assertIn(f'listen = ["0.0.0.0:{ports[0]}"]', defaults)


class Compose(unittest.TestCase):
    """deploy/compose.yaml."""

    def test_the_schema_knows_every_field(self):
        schema = json.loads((render.TOOLS / "compose.json").read_text(encoding="utf-8"))
        validator = jsonschema.Draft7Validator(schema)
        self.assertEqual([error.message for error in validator.iter_errors(COMPOSE)], [])
        wrong = {"services": {"tfbridge": {"image": "tfbridge", "helthcheck": {}}}}
        self.assertIn("'helthcheck' does not match", next(validator.iter_errors(wrong)).message)

    def test_the_program_takes_the_settings(self):
        bridge = COMPOSE["services"]["tfbridge"]
        command, *arguments = bridge["command"]
        self.assertEqual(command, "serve")
        self.assertLessEqual(set(bridge["environment"]), program.variables())
        self.assertEqual(program.check(arguments, bridge["environment"]), "")

    def test_the_two_find_each_other(self):
        services = COMPOSE["services"]
        backend = services["tfbridge"]["environment"]["TFBRIDGE_BACKEND"]
        host, port = backend.removeprefix("http://").split(":")
        self.assertIn(port, services[host]["expose"])
        self.assertEqual(services["tfbridge"]["depends_on"], {host: {"condition": "service_healthy"}})
        self.assertNotIn("ports", services[host])

    def test_each_has_a_health_check(self):
        for name, service in COMPOSE["services"].items():
            with self.subTest(name):
                self.assertEqual(service["healthcheck"]["test"][0], "CMD")
        check = COMPOSE["services"]["tfbridge"]["healthcheck"]["test"]
        self.assertEqual(check[1], "/tfbridge")
        render.run(program.PROGRAM, *check[2:], "--help")

    def test_docker_waits_for_the_drain(self):
        defaults = render.run(program.PROGRAM, "check-config", "--print")
        timeout = re.search(r'^drain-timeout = "(\w+)"', defaults, re.MULTILINE)[1]
        period = COMPOSE["services"]["tfbridge"]["stop_grace_period"]
        self.assertGreaterEqual(rules.seconds(period), rules.seconds(timeout) + rules.FAREWELL)


if __name__ == "__main__":
    unittest.main()
