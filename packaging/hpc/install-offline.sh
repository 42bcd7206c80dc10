#!/usr/bin/env bash
# Install FaceGen from a wheelhouse, with no network.
#
#   install-offline.sh WHEELHOUSE ENVIRONMENT [PYTHON]
#
# Checks every wheel against SHA256SUMS, makes the virtual environment ENVIRONMENT with PYTHON
# (python3 if left away) and installs exactly the versions in requirements.txt.
set -euo pipefail

stop() {
    echo "$*" >&2
    exit 2
}

[ $# -ge 2 ] || stop "Type: install-offline.sh WHEELHOUSE ENVIRONMENT [PYTHON]"
wheelhouse=$(cd "$1" && pwd) || stop "There is no folder $1."
environment=$2
python=${3:-python3}
[ -f "$wheelhouse/SHA256SUMS" ] || stop "$1 was not made by wheelhouse.sh: SHA256SUMS is missing."
[ ! -e "$environment" ] || stop "$environment is there already. Name a new one, or remove it."

(cd "$wheelhouse" && sha256sum --check --quiet --strict SHA256SUMS) ||
    stop "A file of the wheelhouse is damaged. Copy it again."

"$python" -m venv "$environment"
# --no-deps: requirements.txt names everything, and what it names is all that is installed.
"$environment/bin/python" -m pip install --quiet --no-index --no-deps --no-cache-dir \
    --disable-pip-version-check --find-links "$wheelhouse" --requirement "$wheelhouse/requirements.txt"
echo "$environment is ready: source $environment/bin/activate"
