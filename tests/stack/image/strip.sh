#!/bin/sh
# Makes an unpacked Debian tree (packages extracted, never configured) run PostgreSQL: what postinst scripts would have
# done and is needed here, minus what a test image has no use for. strip.sh ROOT MAJOR
set -eu
root="$1"
major="$2"
cd "$root"
[ -e bin/sh ] || ln -s dash bin/sh
[ -e etc/passwd ] || cp usr/share/base-passwd/passwd.master etc/passwd
[ -e etc/group ] || cp usr/share/base-passwd/group.master etc/group
[ -e etc/nsswitch.conf ] || printf 'passwd: files\ngroup: files\nhosts: files dns\n' >etc/nsswitch.conf
echo 'postgres:x:999:999::/var/lib/postgresql:/bin/bash' >>etc/passwd
echo 'postgres:x:999:' >>etc/group
rm -f usr/lib/*/libLLVM* usr/lib/*/libz3.so*
rm -rf usr/lib/postgresql/*/lib/llvmjit* usr/lib/postgresql/*/lib/bitcode usr/lib/postgresql/*/lib/pgxs
rm -rf usr/share/doc usr/share/info usr/share/lintian usr/share/perl usr/share/perl5 usr/lib/*/perl usr/lib/*/perl5 \
    usr/lib/*/perl-base usr/bin/perl* usr/share/man usr/share/postgresql/*/man usr/share/locale var/cache/apt \
    var/lib/apt var/lib/dpkg usr/lib/systemd usr/lib/*/systemd
ldconfig -r .
# The official image's locale. The sources of the other locales are then of no more use.
mkdir -p usr/lib/locale
chroot . localedef -i en_US -c -f UTF-8 en_US.UTF-8
rm -rf usr/share/i18n
# The wrappers in /usr/bin choose a version, in perl; there is only one version here.
for tool in usr/lib/postgresql/"$major"/bin/*; do
    ln -sf "/$tool" "usr/bin/${tool##*/}"
done
sed -ri "s!^#?(listen_addresses)\s*=\s*\S+.*!\1 = '*'!" "usr/share/postgresql/$major/postgresql.conf.sample"
grep -q "^listen_addresses = '\*'" "usr/share/postgresql/$major/postgresql.conf.sample"
mkdir -p docker-entrypoint-initdb.d var/lib/postgresql var/run/postgresql
chmod 755 var/lib/postgresql
chmod 3777 var/run/postgresql
chown 999:999 var/lib/postgresql var/run/postgresql
