"""Renders what is in deploy/, as lists of Kubernetes objects."""

import json
import os
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
TOOLS = ROOT / "target" / "deploy"


# Helm keeps its files here, and not with those of the user.
HELM_HOMES = {f"HELM_{kind}_HOME": str(TOOLS / "helm-home") for kind in ["CACHE", "CONFIG", "DATA"]}


def run(*command, given=None):
    """The standard output of a command that must succeed."""
    variables = {**os.environ, **HELM_HOMES}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, input=given, env=variables
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def objects(text):
    """The objects in a stream of YAML."""
    return [document for document in yaml.safe_load_all(text) if document]


def kustomize(directory):
    """The objects of a directory below deploy/kubernetes."""
    return objects(run(TOOLS / "kubectl", "kustomize", DEPLOY / "kubernetes" / directory))


def chart(values, release="models"):
    """The objects of the chart with these values in place of its own."""
    command = ["template", release, DEPLOY / "helm" / "tfbridge", "--namespace=serving", "--values=-"]
    return objects(run(TOOLS / "helm", *command, given=json.dumps(values)))


def notes(values):
    """What the chart tells after it has been installed."""
    command = ["install", "models", DEPLOY / "helm" / "tfbridge", "--namespace=serving", "--dry-run=client"]
    text = run(TOOLS / "helm", *command, "--values=-", given=json.dumps(values))
    return text.partition("NOTES:")[2]
