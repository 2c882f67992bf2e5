"""Checks the files of examples/deploy with the tools that will read them. Prints what was skipped for want of a tool.

launchers.py kubernetes          the Job against the schemas of Kubernetes
launchers.py aws PLACE           the job definitions against botocore's model of AWS Batch, and their command in a shell
launchers.py systemd PLACE       the unit with systemd-analyze
launchers.py slurm PLACE         the script with stand-ins for srun and scontrol: which exit codes queue the job again?
launchers.py shell               all scripts with shellcheck
launchers.py container           the Dockerfile with hadolint; the Apptainer definition has the same steps
launchers.py assemble PLACE HUBBLEFLOW    the step that fills the container, and the program in it
launchers.py settings            all options and variables of Hubbleflow are in docs/settings.md

PLACE is an empty folder.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "examples/deploy"
TOOLS = pathlib.Path(sys.executable).parent
SCRIPTS = sorted([*DEPLOY.rglob("*.sh"), *DEPLOY.rglob("*.sbatch")])


def call(*words, **options):
    """Runs a command that must succeed. Returns its output."""
    done = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        sys.exit(f"{words} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def program(path, *lines):
    """Writes a script that stands in for a program."""
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


def kubernetes():
    import kubernetes_validate
    import yaml

    job = yaml.safe_load((DEPLOY / "kubernetes/job.yaml").read_text())
    for version in ("1.31", "1.37"):
        kubernetes_validate.validate(job, version, strict=True)
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    container, = pod["containers"]
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert spec["completions"] == spec["parallelism"] == int(variables["HUBBLEFLOW_PROCESSES"])
    # Kubernetes demands it of a Job with a podFailurePolicy.
    assert pod["restartPolicy"] == "Never"
    by_code = {code: rule["action"] for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule
               for code in rule["onExitCodes"]["values"]}
    assert by_code == {2: "FailJob", 75: "Ignore"}
    key, = (mount for mount in container["volumeMounts"] if mount["name"] == "cluster-key")
    assert key["readOnly"] and variables["HUBBLEFLOW_CLUSTER_KEY"].startswith(key["mountPath"] + "/")


def aws(place):
    import botocore.session
    import botocore.validate

    service = botocore.session.get_session().get_service_model("batch")
    shape = service.operation_model("RegisterJobDefinition").input_shape
    for name, variable, processes in (("multi-node", "NUM_NODES", "8"), ("array", "ARRAY_SIZE", "2..8")):
        definition = json.loads((DEPLOY / f"aws-batch/{name}.json").read_text())
        botocore.validate.validate_parameters(definition, shape)
        if "nodeProperties" in definition:
            range_, = definition["nodeProperties"]["nodeRangeProperties"]
            container = range_["container"]
        else:
            container = definition["containerProperties"]
        words = [definition["parameters"][word[5:]] if word.startswith("Ref::") else word for word in container["command"]]
        key = place / "cluster-key"
        words[2] = words[2].replace("/tmp/cluster-key", str(key))
        program(place / "hubbleflow", 'echo "$@; ${CLUSTER_KEY-no key}"')
        environment = {"PATH": f"{place}:/usr/bin:/bin", "CLUSTER_KEY": "a key", f"AWS_BATCH_JOB_{variable}": "8"}
        said = call(*words, env=environment)
        assert said.startswith("run s3://sky/catalog --out s3://sky/photoz --model bundled "), said
        assert f"--processes {processes} --cluster-key {key} " in said and said.endswith("; no key\n"), said
        assert key.read_text() == "a key\n" and key.stat().st_mode & 0o777 == 0o600
        key.unlink()


def systemd(place):
    if not shutil.which("systemd-analyze"):
        return print("skipped: no systemd-analyze")
    unit = (DEPLOY / "systemd/hubbleflow@.service").read_text()
    # The program need not be installed here.
    (place / "hubbleflow@.service").write_text(unit.replace("/usr/local/bin/hubbleflow", "/bin/true"))
    said = call("systemd-analyze", "verify", place / "hubbleflow@.service")
    assert "hubbleflow@" not in said, said


def slurm(place):
    program(place / "srun", 'printf "%s|" "$@" >>"$PLACE/calls"', 'echo >>"$PLACE/calls"', 'exit "$CODE"')
    program(place / "scontrol", 'echo "scontrol $*" >>"$PLACE/calls"')
    job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_CPUS_PER_TASK": "16", "HOME": "/home/ann"}
    environment = {"PATH": f"{place}:/usr/bin:/bin", "PLACE": str(place), **job}
    words = ["bash", str(DEPLOY / "slurm/hubbleflow.sbatch"), "s3://sky/catalog", "--out", "s3://sky/my photoz"]
    for code, restarts, again in [
            (0, 0, False), (1, 0, False), (2, 0, False), (3, 0, False), (75, 0, True), (137, 18, True), (253, 0, True),
            (143, 0, True), (143, 500, True), (75, 19, False)]:
        calls = place / "calls"
        calls.unlink(missing_ok=True)
        now = {"CODE": str(code), "SLURM_RESTART_COUNT": str(restarts)}
        done = subprocess.run(words, env=environment | now, stdout=subprocess.DEVNULL)
        started, *queued = calls.read_text().splitlines()
        assert started.endswith("|run|s3://sky/catalog|--out|s3://sky/my photoz|--processes|4|--threads|16|"), started
        assert done.returncode == code, (code, done.returncode)
        assert queued == ["scontrol requeue 7"] * again, (code, restarts, queued)


def shell():
    for script in SCRIPTS:
        call("bash", "-n", script)
    call(TOOLS / "shellcheck", *SCRIPTS)


def steps(lines):
    """The calls of build.sh in a Dockerfile or a definition."""
    return [found.group(1).strip() for line in lines if (found := re.search(r"build\.sh ((?:\w+ ?)+.*?)(?:&&|$)", line))
            and not line.startswith(("#", "COPY"))]


def container():
    folder = DEPLOY / "container"
    call(TOOLS / "hadolint", "--ignore", "DL3059", folder / "Dockerfile")
    dockerfile = (folder / "Dockerfile").read_text().splitlines()
    definition = (folder / "hubbleflow.def").read_text()
    assert definition.split().count("Stage:") == 2 and re.findall(r"^%(\w+)", definition, re.M) == [
        "arguments", "files", "post", "files", "post", "environment", "runscript"]
    of_docker = [step.replace('"$DEVICE"', "{{ DEVICE }}") for step in steps(dockerfile)]
    assert of_docker == steps(map(str.strip, definition.splitlines())), of_docker
    assert [line.split()[1] for line in dockerfile if line.startswith("FROM")] == re.findall(r"^From: (\S+)", definition, re.M)
    copied = dict(re.findall(r"^    (\S+) /source/(\S+)$", definition, re.M))
    assert all(name == to and (ROOT / name).exists() for name, to in copied.items()), copied
    members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    needed = {member.split("/")[0] for member in members} | {"Cargo.toml", "Cargo.lock", ".cargo", "Makefile", "examples"}
    assert needed <= copied.keys(), needed - copied.keys()


def assemble(place, hubbleflow):
    prefix = place / "opt/hubbleflow"
    target = pathlib.Path(hubbleflow).resolve().parents[1]
    call(DEPLOY / "container/build.sh", "install", prefix, "cpu", env=os.environ | {"CARGO_TARGET_DIR": str(target)})
    installed = prefix / "bin/hubbleflow"
    assert call(installed, "--version", env={}).startswith("hubbleflow ")
    assert "finite" in call(installed, "model", "check", "bundled", "--device", "cpu", env={})
    # All else is part of Debian's slim image, or installed by `build.sh runtime`.
    loaded = call(installed, env={"LD_TRACE_LOADED_OBJECTS": "1"})
    elsewhere = {name for name, path in re.findall(r"(\S+) => (\S+)", loaded) if not path.startswith(str(prefix))}
    system = {"libc", "libm", "librt", "libdl", "libpthread", "libutil", "libgcc_s", "libstdc++"}
    assert {name.split(".")[0] for name in elsewhere} <= system and "not found" not in loaded, loaded


def settings():
    page = (ROOT / "docs/settings.md").read_text()
    known = {"--help", "--version"} | set(re.findall(r"--[a-z][a-z-]+|HUBBLEFLOW_[A-Z_]+", page))
    used = {}
    for path in (path for path in DEPLOY.rglob("*") if path.is_file()):
        text = path.read_text().replace("\\\n", " ")
        of_commands = re.findall(r"\bhubbleflow (?:run|watch|model|cluster-key)\b([^\n`']*)", text)
        names = re.findall(r"(?<!\S)--[a-z][a-z-]+", " ".join(of_commands)) + re.findall(r"HUBBLEFLOW_[A-Z_]+", text)
        if path.suffix == ".toml":
            names += ["--" + key.replace("_", "-") for key in tomllib.loads(text)]
        used |= {name: path for name in names}
    unknown = {name: str(path) for name, path in used.items() if name not in known}
    assert not unknown, f"docs/settings.md does not have {unknown}"


if __name__ == "__main__":
    globals()[sys.argv[1]](*([pathlib.Path(sys.argv[2])] if len(sys.argv) > 2 else []), *sys.argv[3:])
