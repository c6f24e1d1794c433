# The first argument is a folder with the release and an image. This is run in namespaces of its own.
fresh_disk "$1/host"
mount -t proc proc "$merged/proc"
mount --rbind /sys "$merged/sys"
mount --rbind /dev "$merged/dev"
mount -t tmpfs tmpfs "$merged/run"
mount -t tmpfs tmpfs "$merged/tmp"
# containerd makes overlays of its own, which take another file system below them.
mkdir "$merged/var/lib/containerd"
mount -t tmpfs tmpfs "$merged/var/lib/containerd"
mkdir "$merged/run/netns" "$merged/run/release"
mount --bind "$1" "$merged/run/release"
hostname plain-host
card
ip route show >"$host/routes"
cat >"$merged/tmp/commands.sh" <<'COMMANDS'
set -euo pipefail
# The folder has cnitool.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/run/release
cd /run/release/release
containerd >/run/containerd.log 2>&1 &
containerd=$!
disown
until ctr version >/dev/null 2>&1; do sleep 0.1; done
ctr image import /run/release/busybox.tar
set -x
@COMMANDS@
set +x
kill "$containerd"
# What the archive brought.
rm /usr/local/bin/calicoctl /usr/local/bin/rackpoold /etc/systemd/system/rackpoold-node.service
rm /opt/cni/bin/calico /opt/cni/bin/calico-ipam
rm -r rackpool-0.1.0-linux-amd64 /var/log/rackpoold.log
COMMANDS
chroot "$merged" bash /tmp/commands.sh
echo "== left"
# dpkg and man-db have records of their own.
cd "$host/upper"
find . -type f -o -type l | grep -vE '^\./var/(lib/dpkg|cache/man|cache/ldconfig)/|^\./var/log/dpkg.log$' || true
find "$merged"/var/lib/{rackpool,calico} "$merged/etc/rackpool" "$merged/run/rackpool" 2>/dev/null || true
ip route show | diff "$host/routes" - || true
nft list tables
