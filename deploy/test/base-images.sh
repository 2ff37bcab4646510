#!/usr/bin/env bash
# Sees to it that the images that the Dockerfile and the Compose files build on are there: what is there is kept, what
# can be pulled is pulled, and for the rest a stand-in is made under the same name, from Debian's packages, this
# machine's Rust and the etcd of .tools/bin. So the files are tested as they are, on machines that reach no registry of
# images. Stand-ins carry the label windlass.stand-in; `base-images.sh remove` removes them again.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
scratch=

say() { printf 'base images: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}

# The image that a file names, found by a part of its name.
named() {
    local name
    name=$(grep -hoE "$1[^ ]*" "$root/Dockerfile" "$root/docker-compose.yml" "$root/docker-compose.ha.yml" | sort -u)
    [ "$(printf '%s\n' "$name" | wc -l)" -eq 1 ] && [ -n "$name" ] || fail "the files do not agree on one $1: $name"
    printf '%s\n' "$name"
}

is_there() { docker image inspect "$1" >/dev/null 2>&1; }

mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sort -u | head -n 1
}

# A root file system of a suite of Debian with these packages, as an archive.
system() {
    local variant=$1 suite=$2 packages=$3 out=$4
    shift 4
    mmdebstrap --quiet --mode=root --variant="$variant" --keyring="$keyring" --include="$packages" "$@" "$suite" "$out" "$mirror"
}

imported() {
    local name=$1 archive=$2
    shift 2
    docker import --change 'LABEL windlass.stand-in=true' "$@" "$archive" "$name" >/dev/null
    say "made a stand-in for $name"
}

# Like the public image of Rust: compiler, cargo, a linker, and apt to add packages with.
make_rust() {
    local toolchain=$scratch/rust/usr/local/rust certificates=$scratch/rust/usr/local/share/ca-certificates folder
    system minbase bookworm ca-certificates,gcc,libc6-dev "$scratch/rust.tar"
    mkdir -p "$scratch/rust/usr/local/cargo" "$certificates"
    tar -C "$scratch/rust" -xf "$scratch/rust.tar"
    folder=$(cd "$root" && rustc --print sysroot)
    mkdir -p "$toolchain/lib/rustlib"
    cp -a "$folder/bin" "$toolchain/"
    cp -a "$folder"/lib/*.so* "$toolchain/lib/"
    cp -a "$folder"/lib/rustlib/*-unknown-linux-gnu "$toolchain/lib/rustlib/"
    # How this machine reaches the registry of crates is its own matter: it goes into the stand-in, and nowhere else.
    for file in "${CARGO_HOME:-$HOME/.cargo}"/config.toml "${CARGO_HOME:-$HOME/.cargo}"/config; do
        if [ -f "$file" ]; then cp "$file" "$scratch/rust/usr/local/cargo/"; fi
    done
    find /usr/local/share/ca-certificates -name '*.crt' -exec cp {} "$certificates/" \; 2>/dev/null || true
    chroot "$scratch/rust" update-ca-certificates >/dev/null
    tar -C "$scratch/rust" -cf "$scratch/rust.tar" .
    imported "$1" "$scratch/rust.tar" --change 'CMD ["bash"]' \
        --change 'ENV PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin CARGO_HOME=/usr/local/cargo'
}

# Like the public distroless image for C: the C library, certificates, an unprivileged user, and no program at all.
make_distroless() {
    local into=$scratch/distroless home=home/nonroot
    system extract bookworm libc6,libgcc-s1,base-files,ca-certificates,tzdata "$scratch/packages.tar"
    mkdir -p "$scratch/packages" "$into"/{etc/ssl/certs,lib64,lib,usr/lib,usr/share,tmp,home/nonroot}
    tar -C "$scratch/packages" -xf "$scratch/packages.tar"
    for folder in lib64 lib usr/lib/x86_64-linux-gnu usr/share/zoneinfo; do
        [ -d "$scratch/packages/$folder" ] || continue
        mkdir -p "$into/$folder"
        cp -a "$scratch/packages/$folder/." "$into/$folder/"
    done
    find "$scratch/packages/usr/share/ca-certificates" -name '*.crt' -exec cat {} + >"$into/etc/ssl/certs/ca-certificates.crt"
    printf '%s\n' 'root:x:0:0:root:/:/sbin/nologin' "nonroot:x:65532:65532:nonroot:/$home:/sbin/nologin" >"$into/etc/passwd"
    printf '%s\n' 'root:x:0:' 'nonroot:x:65532:' >"$into/etc/group"
    chmod 1777 "$into/tmp"
    chown 65532:65532 "$into/home/nonroot"
    tar -C "$into" -cf "$scratch/distroless.tar" .
    imported "$1" "$scratch/distroless.tar" --change 'USER 65532' --change "WORKDIR /$home" \
        --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt'
}

# Like the public image of etcd: its programs, and no shell.
make_etcd() {
    local into=$scratch/etcd program
    mkdir -p "$into"/{usr/local/bin,var/lib/etcd,var/etcd,tmp,etc,lib64,lib/x86_64-linux-gnu}
    for program in etcd etcdctl; do
        [ -x "$root/.tools/bin/$program" ] || fail "there is no .tools/bin/$program: run 'make tools'"
        cp "$root/.tools/bin/$program" "$into/usr/local/bin/"
        # Debian's are linked with the C library, etcd's own are not.
        ldd "$root/.tools/bin/$program" 2>/dev/null | grep -oE '/lib[^ ]*' | while read -r library; do
            mkdir -p "$into$(dirname "$library")"
            cp -L "$library" "$into$library"
        done
    done
    say "the etcd of .tools/bin is $("$root/.tools/bin/etcd" --version | sed -n 's/^etcd Version: //p')"
    tar -C "$into" -cf "$scratch/etcd.tar" .
    imported "$1" "$scratch/etcd.tar" --change 'CMD ["/usr/local/bin/etcd"]' --change 'EXPOSE 2379 2380'
}

# Like the public image of HAProxy.
make_haproxy() {
    system minbase trixie haproxy "$scratch/haproxy.tar"
    imported "$1" "$scratch/haproxy.tar" --change 'USER haproxy' --change 'WORKDIR /var/lib/haproxy' \
        --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' --change 'CMD ["haproxy"]'
}

remove() {
    local image
    for image in $(docker image ls --filter label=windlass.stand-in=true --format '{{.Repository}}:{{.Tag}}' | grep -v '<none>'); do
        case $image in
        windlass*) ;;
        *) docker image rm "$image" >/dev/null && say "removed the stand-in for $image" ;;
        esac
    done
}

main() {
    local kind name
    docker info >/dev/null 2>&1 || fail "there is no Docker that answers"
    if [ "${1:-}" = remove ]; then
        remove
        return
    fi
    for kind in rust:rust: distroless:gcr.io/distroless/ etcd:quay.io/coreos/etcd: haproxy:haproxy:; do
        name=$(named "${kind#*:}")
        if is_there "$name"; then continue; fi
        if timeout 600 docker pull "$name" >/dev/null 2>&1; then continue; fi
        say "$name cannot be pulled"
        if [ -z "$scratch" ]; then
            command -v mmdebstrap >/dev/null || fail "making stand-ins needs mmdebstrap: apt-get install mmdebstrap"
            [ "$(id -u)" -eq 0 ] || fail "making stand-ins needs root"
            scratch=$(mktemp -d)
            trap 'rm -rf "$scratch"' EXIT
            # The user to whom apt gives up root must be able to read what it makes.
            chmod 755 "$scratch"
            mirror=$(mirror)
            [ -n "$mirror" ] || fail "apt knows no mirror of Debian: run 'apt-get update'"
        fi
        "make_${kind%%:*}" "$name"
    done
}

main "$@"
