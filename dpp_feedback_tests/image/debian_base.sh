#!/usr/bin/env bash
# A base for the image where no registry is reached: Debian 12 with its Python 3.11, from Debian's
# packages. Needs root, debootstrap and buildah.
#
#   dpp_feedback_tests/image/debian_base.sh localhost/python-base
#   make test-image BASE=localhost/python-base
set -euo pipefail

name=${1:?"the name of the image to make"}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

debootstrap --variant=minbase --include=ca-certificates,netbase,python3,python3-venv,tzdata \
  bookworm "$root" >&2
# As in the official image: no package files, no manuals, no bytecode of Python's library.
rm -rf "$root"/var/{cache/apt/archives/*.deb,lib/apt/lists/*} "$root"/usr/share/{doc,locale,man}/*
find "$root/usr/lib/python3.11" -depth -type d \( -name __pycache__ -o -name test -o -name tests \) \
  -exec rm -rf {} +
# How this machine reaches its package index, and whom it trusts, hold for the builder as well.
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
if [[ -e /etc/pip.conf ]]; then cp /etc/pip.conf "$root/etc/"; fi

container=$(buildah from scratch)
tar -C "$root" -cf "$root.tar" .
buildah add --quiet "$container" "$root.tar" / >&2
rm "$root.tar"
buildah config --env LANG=C.UTF-8 --cmd python3 \
  --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
buildah commit --quiet --rm "$container" "$name"
