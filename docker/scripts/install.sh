#!/bin/sh
# Groundlook with the versions in docker/constraints.txt, into an environment of its own in /opt/groundlook. Run in the
# source tree, as root: install.sh cpu|gpu EXTRAS
#   cpu: torch from PyTorch's index of CPU builds.   gpu: torch from PyPI, whose wheels bring CUDA: of the system only
#   the driver is needed.   EXTRAS: "yolo,sam,…", or "" for none.
set -eu
torch=$1
extras=$2
python=$(command -v python3.11)
"$python" -m venv /tmp/uv
/tmp/uv/bin/pip install --quiet --disable-pip-version-check "uv==${UV_VERSION}"

case $torch in
cpu) set -- --torch-backend cpu ;;
gpu) set -- ;;
*) echo "install.sh: torch for '$torch'? cpu or gpu" >&2 && exit 2 ;;
esac
if [ -z "$extras" ]; then # nothing in it asks for torch
    set --
fi
/tmp/uv/bin/uv venv --quiet --python "$python" /opt/groundlook
# In the source tree: uv heeds the overrides in pyproject.toml, without which two packages would write cv2/.
/tmp/uv/bin/uv pip install --quiet --python /opt/groundlook/bin/python --compile-bytecode \
    --constraints docker/constraints.txt "$@" ".${extras:+[$extras]}"
rm -rf /tmp/uv
/opt/groundlook/bin/groundlook --version
