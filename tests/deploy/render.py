"""Renders what is in deploy/, as lists of Kubernetes objects."""

import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
TOOLS = ROOT / "target" / "deploy"


def run(*command):
    """The standard output of a command that must succeed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def objects(text):
    """The objects in a stream of YAML."""
    return [document for document in yaml.safe_load_all(text) if document]


def kustomize(directory):
    """The objects of a directory below deploy/kubernetes."""
    return objects(run(TOOLS / "kubectl", "kustomize", DEPLOY / "kubernetes" / directory))
