#!/usr/bin/env bash
# Collect what FaceGen needs as wheels, where there is internet, for machines where there is none.
#
#   wheelhouse.sh OUT [--python 3.11] [--arch x86_64] [--glibc 2.28] [--extras training,gpu]
#                     [--no-deps] [-- WORDS FOR PIP ...]
#
# OUT gets one wheel for each package, requirements.txt (every version pinned) and SHA256SUMS.
# The target's Python and glibc are asked for, not this machine's; on the compute node type
#   python3 --version; ldd --version | head -n 1
# Words after -- go to pip as they are: further packages, or another package index.
# Then copy OUT to the cluster and run install-offline.sh there.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(dirname "$(dirname "$here")")
python=3.11 arch=x86_64 glibc=2.28 extras=training,gpu deps=yes out=

stop() {
    echo "$*" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    --python) python=${2:?} && shift 2 ;;
    --arch) arch=${2:?} && shift 2 ;;
    --glibc) glibc=${2:?} && shift 2 ;;
    --extras) extras=${2:?} && shift 2 ;;
    --no-deps) deps=no && shift ;;
    --) shift && break ;;
    -*) stop "Unknown option $1. See the top of this file." ;;
    *)
        [ -z "$out" ] || stop "One folder only: $out or $1?"
        out=$1 && shift
        ;;
    esac
done
[ -n "$out" ] || stop "Name the folder to collect into: wheelhouse.sh OUT"
[ ! -e "$out" ] || stop "$out is there already. Name a new folder, or remove it first."
[[ $glibc =~ ^2\.[0-9]+$ ]] || stop "--glibc is a version such as 2.28."

# Wheels say the oldest glibc they run on; all up to the target's are welcome.
platforms=()
for ((minor = ${glibc#2.}; minor >= 5; minor--)); do
    platforms+=(--platform "manylinux_2_${minor}_${arch}")
done
for old in manylinux2014 manylinux2010 manylinux1 linux; do
    platforms+=(--platform "${old}_${arch}")
done

part="$out.part"
rm -rf "$part"
mkdir -p "$part"
trap 'rm -rf "$part"' EXIT

echo "Building FaceGen's own wheel"
python3 -m pip wheel --quiet --no-deps --wheel-dir "$part" "$project"
wheel=$(find "$part" -name 'facegen-*.whl')
[ -f "$wheel" ] || stop "FaceGen's wheel was not built."

echo "Collecting for Python $python, glibc $glibc, $arch"
target=(--python-version "$python" --implementation cp --only-binary ":all:" "${platforms[@]}")
if [ "$deps" = yes ]; then
    python3 -m pip download --quiet --dest "$part" "${target[@]}" "${wheel}[$extras]" "$@"
elif [ $# -gt 0 ]; then
    python3 -m pip download --quiet --dest "$part" "${target[@]}" --no-deps "$@"
fi

cd "$part"
for file in *.whl; do
    name=${file%%-*} rest=${file#*-}
    echo "${name//_/-}==${rest%%-*}"
done | sort >requirements.txt
sha256sum -- *.whl requirements.txt >SHA256SUMS
cd - >/dev/null
mv "$part" "$out"
echo "$out: $(find "$out" -name '*.whl' | wc -l) wheels, $(du -sh "$out" | cut -f1)"
