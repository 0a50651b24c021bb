#!/bin/sh
# What tests and benchmarks drive us with, from Debian: smtp-source, smtp-sink, swaks, strace,
# cdbmake and cdbdump, cdb, tcpserver, openssl; mail clients that call sendmail or fetch by POP3,
# mutt, s-nail, fetchmail, mpop, getmail6 and curl; and Dovecot, which works on the same maildirs.
# Root gets what is missing; for anybody else the tests that need it skip and say so.
set -u
PATH=$PATH:/usr/sbin:/sbin
missing=
for pair in smtp-source:postfix swaks:swaks strace:strace cdbmake:freecdb cdb:tinycdb \
    tcpserver:ucspi-tcp openssl:openssl mutt:mutt s-nail:s-nail fetchmail:fetchmail mpop:mpop \
    getmail:getmail6 curl:curl \
    /usr/lib/dovecot/imap:dovecot-imapd /usr/lib/dovecot/pop3:dovecot-pop3d; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "tools: not here:$missing; the tests that need them skip ('apt-get install$missing' as root)"
    exit 0
fi
echo "tools: apt-get install$missing (no service is started)"
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    # Debian's way to install a daemon without starting it.
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
    trap 'exit 1' INT TERM
fi
if command -v debconf-set-selections >/dev/null; then
    echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections
fi
apt-get update -qq </dev/null
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing </dev/null >/dev/null ||
    echo "tools: could not install$missing; the tests that need them skip"
exit 0
