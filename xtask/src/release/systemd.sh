# The first argument is a folder with the release. This is run in a namespace of its own for mounts.
fresh_disk "$1/systemd"
# A machine that is a container itself may forbid packages to start services.
rm -f "$merged/usr/sbin/policy-rc.d"
echo systemd-host >"$merged/etc/hostname"
mkdir "$merged/release"
cat >"$merged/etc/systemd/system/commands.service" <<'UNIT'
[Unit]
SuccessAction=exit
FailureAction=exit
[Service]
Type=oneshot
ExecStart=/bin/bash /commands.sh
StandardOutput=file:/said
StandardError=file:/said
UNIT
declare -f card >"$merged/commands.sh"
cat >>"$merged/commands.sh" <<'COMMANDS'
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
cd /release/release
card
ip route show >/routes
agent() { systemctl show --value --property MainPID rackpoold-node; }
is_synced() { until rackpoold node status; do sleep 1; done; }
set -x
dpkg -i rackpool_*.deb
test "$(systemctl is-enabled rackpoold-node)" = disabled
test "$(systemctl is-active rackpoold-node)" = inactive
calicoctl datastore init --ipv4-cidr none
calicoctl create -f - <<END
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: containers
spec:
  cidr: 10.50.0.0/24
  natOutgoing: true
END
systemctl enable --now rackpoold-node
is_synced
calicoctl get node "$(hostname)"
nft list table inet rackpool | grep -F 10.50.0.0/24
test "$(cat /proc/sys/net/ipv4/ip_forward)" = 1
# It may change networks, and nothing else.
grep -E '^CapEff:\s+0000000000001000$' "/proc/$(agent)/status"
# One that was killed starts again.
first=$(agent)
kill -KILL "$first"
until test "$(systemctl is-active rackpoold-node)" = active && test "$(agent)" != "$first"; do sleep 1; done
is_synced
# An upgrade replaces one that runs, and leaves its settings alone.
echo '# of this host' >>/etc/rackpool/rackpoold.env
second=$(agent)
dpkg -i rackpool_*.deb
test "$(agent)" != "$second"
is_synced
grep -F '# of this host' /etc/rackpool/rackpoold.env
# An upgrade leaves one alone that was stopped.
systemctl stop rackpoold-node
dpkg -i rackpool_*.deb
test "$(systemctl is-active rackpoold-node)" = inactive
systemctl start rackpoold-node
is_synced
dpkg --remove rackpool
test "$(agent)" = 0
test -z "$(nft list tables)"
ip route show | diff /routes -
test -e /etc/rackpool/rackpoold.env
test ! -e /etc/systemd/system/multi-user.target.wants/rackpoold-node.service
dpkg --purge rackpool
test ! -e /etc/rackpool
test -e /var/lib/rackpool/rackpool.db
systemctl --failed --no-legend | grep -F rackpool && exit 1
# It does not come back with a package that was purged.
dpkg -i rackpool_*.deb
test "$(systemctl is-active rackpoold-node)" = inactive
dpkg --purge rackpool
COMMANDS
rc=0
systemd-nspawn --quiet --register=no --keep-unit --private-network --link-journal=no --resolv-conf=off \
    --timezone=off --machine=systemd-host --bind="$1:/release" --directory="$merged" \
    --boot systemd.unit=commands.service >"$host/console" 2>&1 </dev/null || rc=$?
cat "$merged/said" || cat "$host/console"
exit "$rc"
