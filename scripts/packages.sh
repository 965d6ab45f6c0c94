# Sourced: install_packages installs what is missing on Debian 12 or Ubuntu 24.04 (root or sudo), after saying what.
# shellcheck shell=bash

# What building, testing and the demonstration need.
packages=(
    gcc g++ libc6-dev cmake ninja-build pkg-config
    libyaml-dev libjansson-dev libssl-dev libxxhash-dev libutf8proc-dev libpcre2-dev zlib1g-dev libzstd-dev
    libhdf5-dev hdf5-tools openmpi-bin libopenmpi-dev
    libcmocka-dev shellcheck procps patch iproute2 nftables
    slurmctld slurmd slurm-client munge util-linux
)

is_installed() {
    [[ $(dpkg-query -W -f='${Status}' "$1" 2>/dev/null) == 'install ok installed' ]]
}

install_packages() {
    local missing=() package as_root=()
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        echo "This is not Debian or Ubuntu; make sure that these are there: ${packages[*]}" >&2
        return 0
    fi
    for package in "${packages[@]}"; do
        is_installed "$package" || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    echo "Installing ${#missing[@]} packages: ${missing[*]}"
    if [[ $(id -u) -ne 0 ]]; then
        if ! command -v sudo >/dev/null; then
            echo "There is neither root nor sudo; let somebody run: apt-get install ${missing[*]}" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends \
        "${missing[@]}" >/dev/null
}

# Several ranks on few cores, also as root in a container.
allow_mpirun() {
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
    export OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_btl_base_warn_component_unused=0
    export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe PRTE_MCA_hwloc_default_binding_policy=none
}
