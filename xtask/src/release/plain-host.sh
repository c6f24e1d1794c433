# The first argument is a folder with the release and an image. This is run in namespaces of its own.
set -euo pipefail
host=$1/host
mkdir "$host"
mount -t tmpfs tmpfs "$host"
mkdir "$host/upper" "$host/work" "$host/merged"
mount -t overlay overlay -o "lowerdir=/,upperdir=$host/upper,workdir=$host/work" "$host/merged"
merged=$host/merged
mount -t proc proc "$merged/proc"
mount --rbind /sys "$merged/sys"
mount --rbind /dev "$merged/dev"
mount -t tmpfs tmpfs "$merged/run"
mount -t tmpfs tmpfs "$merged/tmp"
# What this machine has of containers and of rackpool is not this host's.
rm -rf "$merged"/var/lib/{containerd,rackpool,calico,cni} "$merged/etc/cni"
# containerd makes overlays of its own, which take another file system below them.
mkdir "$merged/var/lib/containerd"
mount -t tmpfs tmpfs "$merged/var/lib/containerd"
mkdir "$merged/run/netns" "$merged/run/release"
mount --bind "$1" "$merged/run/release"
hostname plain-host
ip link set lo up
# The host's card, with nobody behind it.
ip link add eth0 type veth peer name wire
ip link set wire up
ip address add 10.77.1.11/24 dev eth0
ip link set eth0 up
ip route add default via 10.77.1.1
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
