"""kubectl of a cluster that is this machine: what is applied is done at once, by real processes.

kubectl apply --filename FILE            runs the pods of the job unless they have run; FILE.log has their words
kubectl wait --for=condition=C OBJECT    exit code 0 if the object has that condition
kubectl get --output ... OBJECT          True if it has failed
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import yaml
from kubernetes_checks import Pod, pods, validate

STATE = Path(os.environ["FAKE_CLUSTER"])


def main() -> None:
    """Answer one call."""
    state: dict[str, str] = json.loads(STATE.read_text()) if STATE.exists() else {}
    verb, last = sys.argv[1], sys.argv[-1]
    if verb == "apply":
        text = Path(last).read_text()
        document = yaml.safe_load(text)
        validate(document)
        if _object(document) not in state:
            state[_object(document)] = _do(document, Path(f"{last}.log"))
        STATE.write_text(json.dumps(state))
        print(f"{_object(document)} applied")
    elif verb == "wait":
        condition = next(word for word in sys.argv if word.startswith("--for=")).rpartition("=")[2]
        sys.exit(0 if state[last] == condition else 1)
    elif verb == "get":
        print("True" if state[last] == "Failed" else "")


def _object(document: dict) -> str:
    return f"{document['kind'].lower()}/{document['metadata']['name']}"


def _do(document: dict, log: Path) -> str:
    """Run all pods of an object side by side; its condition after that."""
    done = {"Job": "Complete", "JobSet": "Completed"}[document["kind"]]
    started = [_here(pod, document).start() for pod in pods(document)]
    words = [process.communicate()[0] for process in started]
    log.write_text("\n".join(words))
    return "Failed" if any(process.returncode for process in started) else done


def _here(pod: Pod, document: dict) -> Pod:
    """With this machine for the host of the first pod."""
    name = document["metadata"]["name"]
    command = [word.replace(f"{name}-node-0-0.{name}", "127.0.0.1") for word in pod.command]
    return Pod(pod.name, pod.host, command, pod.environment, pod.spec)


if __name__ == "__main__":
    main()
