#!/bin/sh
# What the packages of Python need of the system, and the user that everything runs as. Run once, as root.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update
# libexpat1: rasterio's wheel expects the system's. ca-certificates: rasters and weights over https.
apt-get install --yes --no-install-recommends ca-certificates libexpat1 tzdata
apt-get clean
rm -rf /var/lib/apt/lists/*

groupadd --gid 10001 groundlook
useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data/.home --shell /usr/sbin/nologin groundlook
install -d -o groundlook -g groundlook -m 750 /data
install -d -m 755 /imagery
