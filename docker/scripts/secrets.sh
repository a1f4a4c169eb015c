#!/bin/sh
# Makes the secrets that compose.yaml names, each once, in the folder given (docker/secrets): what is there stays.
# Nobody else may enter the folder; the files themselves are readable, because each container has its own user.
set -eu
folder=${1:-docker/secrets}
mkdir -p "$folder"
chmod 700 "$folder"
secret() { # 40 hexadecimal digits
    od -An -N20 -tx1 /dev/urandom | tr -d ' \n'
}
keep() { # NAME: standard input becomes the file, if it is not there
    if [ ! -e "$folder/$1" ]; then
        cat >"$folder/.$1"
        chmod 444 "$folder/.$1"
        mv "$folder/.$1" "$folder/$1"
    fi
}
secret | keep groundlook_password
secret | keep postgres_password
keep label_studio_env <<END
export POSTGRE_PASSWORD=$(cat "$folder/postgres_password")
export LABEL_STUDIO_USERNAME=${LABEL_STUDIO_USERNAME:-admin@example.org}
export LABEL_STUDIO_PASSWORD=$(secret)
export LABEL_STUDIO_USER_TOKEN=$(secret)
END
echo "secrets in $folder; Label Studio's login is in $folder/label_studio_env"
