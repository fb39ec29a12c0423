#!/bin/sh
# Install what `make slurm-test` needs, unless it is there, and start none of the services that come with it (where
# systemd runs, munge starts at the next boot).
set -eu
PATH="$PATH:/usr/sbin:/sbin"
refusal=/usr/sbin/policy-rc.d

if command -v slurmctld >/dev/null && command -v munged >/dev/null; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "slurmctld and munged are missing; as root on Debian or Ubuntu: apt-get install slurm-wlm"
    exit 2
fi
if [ ! -e "$refusal" ]; then # Debian's packages ask it whether they may start what they install
    trap 'rm -f "$refusal"' EXIT
    trap 'exit 2' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$refusal"
    chmod +x "$refusal"
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing slurm-wlm"
apt-get update -qq
apt-get install -y -qq --no-install-recommends slurm-wlm >/dev/null
