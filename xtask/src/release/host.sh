# What the scripts of hosts share. The first argument of each is a folder with the release.
set -euo pipefail

# Lays a fresh disk over this machine's, in the folder $host; the host's root is $merged.
fresh_disk() {
    host=$1
    merged=$host/merged
    mkdir "$host"
    mount -t tmpfs tmpfs "$host"
    mkdir "$host/upper" "$host/work" "$merged"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$host/upper,workdir=$host/work" "$merged"
    # What this machine has of containers and of rackpool is not this host's.
    rm -rf "$merged"/var/lib/{containerd,rackpool,calico,cni} "$merged/etc/cni"
}

# Gives the host a card, with nobody behind it.
card() {
    ip link set lo up
    ip link add eth0 type veth peer name wire
    ip link set wire up
    ip address add 10.77.1.11/24 dev eth0
    ip link set eth0 up
    ip route add default via 10.77.1.1
}

