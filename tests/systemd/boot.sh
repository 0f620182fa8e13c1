# Boots systemd as the first process of namespaces of its own, over a root file system of its own:
# nothing that it does reaches the machine, whose files it sees read-only where it sees them at all.
# As a user namespace's root it has no power over anything outside either.
#
#   sh boot.sh CGROUP PYTHON PACKAGES SOURCE
#
# CGROUP: an empty folder of cgroup2. PYTHON: an interpreter's prefix. PACKAGES: a site-packages
# folder. SOURCE: the work tree. Needs root.
set -eu

outside() { # CGROUP PYTHON PACKAGES SOURCE
    # From here on mounts are ours alone; what is gathered below /srv is seen by nobody else.
    mount -t tmpfs -o mode=755 gathered /srv
    mkdir /srv/python /srv/packages /srv/source /srv/plugins /srv/root
    mount --bind "$2" /srv/python
    mount --bind "$3" /srv/packages
    mount --bind "$4/streamd" /srv/source
    mount --bind "$4/plugins" /srv/plugins

    unshare --user sleep 20 &
    users=/proc/$!/ns/user
    until ours=$(readlink /proc/self/ns/user) && now=$(readlink "$users") && [ "$now" != "$ours" ]; do
        sleep 0.05
    done
    # DynamicUser takes its ids from a whole range.
    echo "0 1000000 65536" >"/proc/$!/uid_map"
    echo "0 1000000 65536" >"/proc/$!/gid_map"
    chown 1000000:1000000 "$1" "$1"/cgroup.procs "$1"/cgroup.subtree_control "$1"/cgroup.threads
    echo $$ >"$1/cgroup.procs"
    exec nsenter --user="$users" --setuid 0 --setgid 0 \
        unshare --mount --pid --ipc --uts --net --cgroup --fork --kill-child=KILL \
        sh "$0" inside
}

bind() { # read-only
    mkdir -p "$2"
    mount --rbind "$1" "$2"
    mount -o remount,bind,ro "$2"
}

inside() {
    mount --make-rprivate /
    root=/srv/root
    mount -t tmpfs -o mode=755 root $root
    cd $root
    mkdir -p dev etc/streamd etc/systemd/system home mnt old proc root run sys tmp var/lib var/log var/tmp
    chmod 1777 tmp var/tmp
    chmod 700 root
    for name in bin sbin lib lib64; do ln -s usr/$name $name; done
    ln -s /run var/run
    bind /usr usr
    install_streamd
    configure
    devices
    mount -t tmpfs -o mode=755,nosuid,nodev run run
    mount -t tmpfs -o mode=1777 tmp tmp
    mount -t proc proc proc
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    ip link set lo up
    hostname streamd-test
    pivot_root . old
    # What has no console writes to the journal.
    exec env -i container=other PATH=/usr/sbin:/usr/bin /bin/sh -c '
        umount -l /old && rmdir /old && mount --make-rshared / && ldconfig &&
        exec /lib/systemd/systemd --unit=test.target --show-status=no' </dev/null
}

install_streamd() { # into /opt, for a home directory is out of the service's sight
    mkdir -p opt/streamd/bin
    bind /srv/python opt/python
    bind /srv/packages opt/streamd/packages
    bind /srv/source opt/streamd/source/streamd
    bind /srv/plugins opt/streamd/plugins
    python=$(cd opt/python/bin && ls python3.[0-9]* | grep -v config | head -1)
    site=opt/streamd/lib/$python/site-packages
    mkdir -p "$site"
    printf '/opt/streamd/%s\n' packages source plugins >"$site/streamd.pth"
    printf 'home = /opt/python/bin\n' >opt/streamd/pyvenv.cfg
    ln -s "/opt/python/bin/$python" opt/streamd/bin/python
    cat >opt/streamd/bin/streamd <<END
#!/opt/streamd/bin/python
import sys
from streamd.cli.main import main
sys.exit(main())
END
    chmod +x opt/streamd/bin/streamd
}

configure() {
    printf '%s\n' /opt/python/lib /usr/lib/x86_64-linux-gnu /usr/lib/aarch64-linux-gnu /usr/lib \
        >etc/ld.so.conf
    cp /usr/lib/os-release etc/os-release
    cp /etc/nsswitch.conf etc/ || true
    echo '127.0.0.1 localhost' >etc/hosts
    tr -d - </proc/sys/kernel/random/uuid >etc/machine-id
    cat >etc/passwd <<END
root:x:0:0::/root:/bin/sh
messagebus:x:100:100::/:/usr/sbin/nologin
nobody:x:65534:65534::/:/usr/sbin/nologin
END
    printf '%s\n' root:x:0: tty:x:5: messagebus:x:100: systemd-journal:x:999: nogroup:x:65534: >etc/group
    # What a start of the whole system has beside basic.target is of no use here.
    for unit in cryptsetup.target dev-hugepages.mount dev-mqueue.mount integritysetup.target \
        kmod-static-nodes.service network-online.target proc-sys-fs-binfmt_misc.automount \
        sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount \
        sys-kernel-tracing.mount systemd-ask-password-console.path systemd-ask-password-wall.path \
        systemd-binfmt.service systemd-firstboot.service systemd-initctl.socket \
        systemd-journal-flush.service systemd-machine-id-commit.service \
        systemd-modules-load.service systemd-networkd.service systemd-pcrphase-sysinit.service \
        systemd-pcrphase.service systemd-random-seed.service systemd-remount-fs.service \
        systemd-repart.service systemd-sysctl.service systemd-sysusers.service \
        systemd-timesyncd.service systemd-tmpfiles-clean.timer systemd-tmpfiles-setup-dev.service \
        systemd-tmpfiles-setup.service systemd-udev-trigger.service systemd-udevd.service \
        systemd-update-utmp.service timers.target veritysetup.target; do
        ln -s /dev/null etc/systemd/system/$unit
    done
    printf '%s\n' [Unit] 'Requires=basic.target dbus.socket' After=basic.target AllowIsolate=yes \
        >etc/systemd/system/test.target
}

devices() {
    mount -t tmpfs -o mode=755 dev dev
    for name in full null random tty urandom zero; do
        touch dev/$name
        mount --bind /dev/$name dev/$name
    done
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
    mount -t tmpfs -o mode=1777 shm dev/shm
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    touch dev/console
}

case $1 in
inside) inside ;;
outside) shift && outside "$@" ;;
*) exec unshare --mount --propagation private sh "$0" outside "$@" ;;
esac
