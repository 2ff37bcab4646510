#!/usr/bin/env bash
# Makes the secrets of docker-compose.ha.yml in deploy/ha/secrets, once: an authority with certificates for etcd, for
# schedulers and for workers, a random password for each user of etcd, and a token for the API with its line in the file of
# tokens. Keep ca.key and root.password elsewhere.
# Whoever has an authority already puts files of the same names there instead.
set -euo pipefail
umask 077

folder=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/secrets}
days=${DAYS:-825}

if [ -e "$folder" ]; then
    echo "secrets: $folder is there already, and is left as it is" >&2
    exit 0
fi
command -v openssl >/dev/null || {
    echo "secrets: needs openssl" >&2
    exit 1
}
work=$folder.new
rm -rf "$work"
mkdir "$work"
cd "$work"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$days" -subj '/CN=windlass etcd authority' \
    -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign' \
    -keyout ca.key -out ca.pem 2>/dev/null

certificate() {
    local name=$1 extensions=$2
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$name.key" -out "$name.csr" 2>/dev/null
    openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days "$days" -out "$name.pem" \
        -extfile <(printf '%s\n' 'basicConstraints=critical,CA:FALSE' 'keyUsage=critical,digitalSignature' "$extensions") 2>/dev/null
    rm "$name.csr"
}
# Members speak to each other as clients, too.
certificate etcd $'extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:etcd-1,DNS:etcd-2,DNS:etcd-3,DNS:localhost,IP:127.0.0.1'
certificate scheduler 'extendedKeyUsage=clientAuth'
certificate worker 'extendedKeyUsage=clientAuth'
for user in root scheduler worker; do openssl rand -hex 32 >"$user.password"; done
rm -f ca.srl

# As `windlass token new admin --role admin --file tokens` does, for a machine that has no windlass.
printf 'wdl_%s' "$(openssl rand -hex 32)" >admin.token
printf 'admin admin %s\n' "$(openssl dgst -sha256 -r admin.token | cut -d ' ' -f 1)" >tokens
echo >>admin.token

# Only the owner gets into the folder. The files themselves are mounted into containers, whose user is another one.
chmod 0444 -- *
chmod 0400 ca.key root.password
# A scheduler takes no tokens that everybody may read: so these belong to the user of the containers.
user=65532
if [ "$(id -u)" -eq 0 ]; then
    chown "$user" tokens
elif command -v setfacl >/dev/null; then
    setfacl -m "u:$user:r" tokens
else
    echo "secrets: needs setfacl (package acl), or to be run by root, to give the file of tokens to the user $user" >&2
    exit 1
fi
chmod o= tokens
mv "$work" "$folder"
echo "secrets: made in $folder" >&2
