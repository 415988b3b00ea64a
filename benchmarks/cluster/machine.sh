#!/bin/bash
# Two SLURM nodes on one Debian machine, without systemd or cgroups. As root:
#   machine.sh install | up | accounting | down | power-off <node> | power-on <node> | on <node> <command>...
# Each node has its own network address, host name, process ids and mounts; the file system is shared, as on a cluster.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
state=/run/lwexp-cluster
export SLURM_CONF=$state/slurm.conf

install_slurm() {
    local tool missing=
    # One call with all names would succeed as soon as one of them is there.
    for tool in slurmctld slurmd slurmdbd srun munged mariadbd mariadb ip; do command -v $tool >/dev/null || missing=$tool; done
    [ -n "$missing" ] || return 0
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        slurmctld slurmd slurmdbd slurm-client munge mariadb-server-core mariadb-client-core iproute2 >/dev/null
}

power_on() {
    local node=node$1 holder
    mkdir -p $state/spool.$node
    ip netns add $node
    ip link add v$node type veth peer name eth0 netns $node
    ip link set v$node master br-lwexp up
    ip -n $node addr add 10.99.0.$1/24 dev eth0
    ip -n $node link set eth0 up
    ip -n $node link set lo up
    # Not "ip netns exec": it remounts /sys, and slurmd then fails to initialise cgroups.
    nsenter --net=/run/netns/$node unshare --uts --pid --fork --kill-child --mount bash -c "
        hostname $node; mount -t proc proc /proc; mount --bind $state/hosts /etc/hosts
        touch $state/$node.ready; exec sleep infinity" </dev/null >/dev/null 2>&1 &
    holder=$!
    until [ -e $state/$node.ready ]; do sleep 0.1; done
    rm $state/$node.ready
    # The first process of the new PID namespace; when it is killed, everything on the node is.
    cat /proc/$holder/task/$holder/children | awk '{print $1}' >$state/$node.init
    nsenter -t "$(cat $state/$node.init)" -a slurmd -N $node -f $SLURM_CONF
}

on_node() {
    local node=$1
    shift
    exec nsenter -t "$(cat $state/node$node.init)" -a bash -c 'cd "$0" && exec "$@"' "$PWD" "$@"
}

power_off() {
    [ -e $state/node$1.init ] || return 0
    # First, because a node without power does not say that its connections are closed.
    ip link del vnode$1 2>/dev/null || true
    kill -9 "$(cat $state/node$1.init)" || true
    rm $state/node$1.init
    ip netns del node$1
}

up() {
    [ ! -e $state ] || { echo "error: $state exists: a cluster is running; stop it: $0 down" >&2; exit 2; }
    mkdir -p $state/state /run/munge
    chown munge: /run/munge
    cp "$here/slurm.conf" $state/
    printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n' >$state/cgroup.conf
    printf '127.0.0.1 localhost\n10.99.0.254 head\n10.99.0.1 node1\n10.99.0.2 node2\n' >$state/hosts
    if [ ! -f /etc/munge/munge.key ]; then
        (umask 077; head -c 1024 /dev/urandom >/etc/munge/munge.key)
        chown munge: /etc/munge/munge.key
    fi
    if [ ! -S /run/munge/munge.socket.2 ] || ! munge -n >/dev/null 2>&1; then
        runuser -u munge -- munged
        cp /run/munge/munged.pid $state/munged.pid
    fi
    ip link add name br-lwexp type bridge
    ip addr add 10.99.0.254/24 dev br-lwexp
    ip link set br-lwexp up
    start_controller
    power_on 1
    power_on 2
}

start_controller() {
    unshare --uts bash -c "hostname head; slurmctld -c -f $SLURM_CONF"  # it must run on the host that slurm.conf names
}

# Restarts the controller with slurmdbd and MariaDB, as on a large cluster, so that sacct answers. squeue forgets a job
# seconds after its end. No job may be in the queue.
accounting() {
    local data=$state/mariadb
    mariadb-install-db --no-defaults --user=root --datadir=$data --skip-test-db --skip-name-resolve >/dev/null
    setsid mariadbd --no-defaults --user=root --datadir=$data --socket=$data/socket --pid-file=$state/mariadbd.pid \
        --skip-networking --skip-grant-tables --innodb-buffer-pool-size=32M </dev/null >$state/mariadbd.log 2>&1 &
    until mariadb --no-defaults --socket=$data/socket -e 'create database lwexp_slurm' 2>/dev/null; do sleep 0.2; done
    install -m 600 "$here/slurmdbd.conf" $state/
    MYSQL_UNIX_PORT=$data/socket unshare --uts bash -c 'hostname head; exec slurmdbd'
    stop_daemon slurmctld
    sed -i 's/^AccountingStorageType=.*/AccountingStorageType=accounting_storage\/slurmdbd/' $SLURM_CONF
    printf 'AccountingStorageHost=10.99.0.254\nMinJobAge=10\n' >>$SLURM_CONF
    until sacctmgr --noheader list cluster >/dev/null 2>&1; do sleep 0.2; done
    start_controller
    until [ "$(sinfo -h -N -p main -o %t | sort -u)" = idle ]; do sleep 0.2; done
}

stop_daemon() {
    local pid
    [ -f $state/$1.pid ] || return 0
    pid=$(cat $state/$1.pid)
    kill "$pid" || true
    while [ -e /proc/$pid ]; do sleep 0.1; done  # slurmctld writes its state when it ends
    rm -f $state/$1.pid
}

down() {
    [ -e $state ] || return 0
    power_off 1
    power_off 2
    local daemon
    for daemon in slurmctld slurmdbd mariadbd munged; do stop_daemon $daemon; done
    ip link del br-lwexp 2>/dev/null || true
    rm -r $state
}

case ${1:-} in
    install) install_slurm ;;
    up) up ;;
    accounting) accounting ;;
    down) down ;;
    power-on) power_on "$2" ;;
    power-off) power_off "$2" ;;
    on) shift; on_node "$@" ;;
    *) sed -n 2,4p "$0" >&2; exit 2 ;;
esac
