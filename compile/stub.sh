#!/bin/sh
# @title@: one file that holds the program and the runtime it needs (Deno @runtimeVersion@).
# The first start unpacks both into a cache directory; later ones only look whether all is still
# there and nobody else can have changed it, and start it. `tail`, `head`, `gzip` and the rest of
# coreutils are all it takes. Behind this text come two gzip streams: the program, the runtime.

name=@name@
machine=@machine@
program=@name@-@programKey@
program_bytes=@programBytes@ program_packed=@programPacked@ program_sha256=@programSha256@
runtime=deno-@runtimeVersion@-@runtimeKey@
runtime_bytes=@runtimeBytes@ runtime_packed=@runtimePacked@ runtime_sha256=@runtimeSha256@

fail() {
  printf '%s: %s\n' "$name" "$1" >&2
  exit 1
}

# Sets `base` to the physical path of directory $1, and `chain` to it and all above it, one in a
# line. Only the path above is followed through links: a link of this name may be another user's.
list_chain() {
  [ ! -L "$1" ] || { reason='is a symbolic link'; return 1; }
  path=$(cd -P -- "${1%/*}/" 2>/dev/null && pwd -P) || { reason='cannot be entered'; return 1; }
  base=${path%/}/${1##*/}
  chain=$base
  while [ "$path" != "" ] && [ "$path" != / ]; do
    chain="$path
$chain"
    path=${path%/*}
  done
}

# Whether directory $1 is this user's and nobody but root can put anything in its place: says why
# not in `reason`. The owner of / counts as root: inside a user namespace root has another number.
is_ours() {
  list_chain "$1" || return 1
  old_ifs=$IFS
  IFS='
'
  # shellcheck disable=SC2086 # one word per line
  states=$(stat -c '%u %a' -- / $chain 2>/dev/null) || states=
  IFS=$old_ifs
  [ -n "$states" ] || { reason='cannot be examined'; return 1; }
  # shellcheck disable=SC2086 # owner and mode of each
  set -- $states
  top=$1
  while [ $# -ge 2 ]; do
    owner=$1 mode=$2
    shift 2
    case $owner in
      "$user" | 0 | "$top") ;;
      *) reason='lies in a directory of another user'; return 1 ;;
    esac
    case $mode in
      1??? | 3??? | 5??? | 7???) ;; # sticky: others cannot replace what is not theirs
      *[2367]? | *[2367]) reason='can be written by others, or a directory above it'; return 1 ;;
    esac
  done
  # The last one is the directory itself: a sticky bit is not enough there.
  [ "$owner" = "$user" ] || { reason='belongs to another user'; return 1; }
  case $mode in
    *[2367]? | *[2367]) reason='can be written by others'; return 1 ;;
  esac
}

# Whether all is unpacked in $1, whole, by this user, and not writable by others.
is_unpacked() {
  [ -x "$1/$program/$name" ] && is_ours "$1" || return 1
  states=$(stat -c '%u %a %s' -- "$base/$program" "$base/$program/cache" \
    "$base/$program/$name" "$base/$program/$name.js" 2>/dev/null) || return 1
  # shellcheck disable=SC2086 # owner, mode and size of each
  set -- $states
  [ "$1 $2" = "$user 755" ] && [ "$4 $5" = "$user 700" ] &&
    [ "$7 $8 $9" = "$user 755 $runtime_bytes" ] && shift 9 &&
    [ "$1 $2 $3" = "$user 644 $program_bytes" ]
}

# Writes the unpacked stream to file $2; $1 of its packed bytes begin $3 bytes before the end.
extract() {
  tail -c "$3" -- "$self" | head -c "$1" | gzip -dc >"$2" 2>/dev/null
}

has_digest() {
  [ "$(sha256sum <"$1" | cut -c 1-64)" = "$2" ]
}

# Unpacks into $base. Each part is made under another name and then renamed: what has its name is
# whole, and any number of first starts at once do no harm. Says why not on standard output.
unpack() (
  umask 022
  new=$(mktemp -d "$base/.new.XXXXXX" 2>/dev/null) || { echo 'cannot be written'; exit 1; }
  trap 'rm -rf -- "$new"' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  chmod 755 "$new"
  printf '#!/bin/sh\n' >"$new/probe" && chmod 755 "$new/probe"
  "$new/probe" 2>/dev/null || { echo 'does not let programs be executed (mounted noexec)'; exit 1; }
  rm -f "$new/probe"

  mkdir -m 755 "$new/$program"
  mkdir -m 700 "$new/$program/cache"
  extract "$program_packed" "$new/$program/$name.js" $((program_packed + runtime_packed))
  has_digest "$new/$program/$name.js" "$program_sha256" || { echo "$broken"; exit 1; }
  # The runtime may be there already, from an earlier version or another of these programs.
  if [ "$(stat -c '%u %a %s' -- "$base/$runtime" 2>/dev/null)" = "$user 755 $runtime_bytes" ] &&
    ln "$base/$runtime" "$new/$program/$name" 2>/dev/null; then
    :
  else
    extract "$runtime_packed" "$new/$program/$name" "$runtime_packed"
    has_digest "$new/$program/$name" "$runtime_sha256" || { echo "$broken"; exit 1; }
    chmod 755 "$new/$program/$name"
    words=$("$new/$program/$name" --version 2>&1) ||
      { echo "the runtime does not start here: ${words%%
*}"; exit 1; }
    # Another name for the same file, so that a process list shows the program's own name.
    ln "$new/$program/$name" "$new/runtime" 2>/dev/null && mv -f "$new/runtime" "$base/$runtime"
  fi
  if ! mv -T "$new/$program" "$base/$program" 2>/dev/null; then
    is_unpacked "$base" && exit 0 # another start was faster
    mv -T "$base/$program" "$new/old" 2>/dev/null
    mv -T "$new/$program" "$base/$program" 2>/dev/null || is_unpacked "$base" ||
      { echo 'cannot be written'; exit 1; }
  fi
  # What was left behind by a start that was killed, and versions not started for a month.
  find "$base" -maxdepth 1 -name '.new.*' -mmin +60 -exec rm -rf -- {} + 2>/dev/null
  find "$base" -maxdepth 2 -path "$base/*-????????????????-????????/*.js" -atime +30 2>/dev/null |
    while read -r old; do
      [ "${old%/*}" = "$base/$program" ] || rm -rf -- "${old%/*}"
    done
  find "$base" -maxdepth 1 -name 'deno-*-????????????????' -type f -links 1 \
    -exec rm -f -- {} + 2>/dev/null
  exit 0
)

start() {
  directory=$base/$program
  # The runtime's own caches (compiled code) stay with it; it needs nothing else of the host's.
  DENO_DIR=$directory/cache DENO_NO_UPDATE_CHECK=1
  export DENO_DIR DENO_NO_UPDATE_CHECK
  exec "$directory/$name" run --quiet --no-config --no-lock --no-remote --no-npm --no-prompt \
    @flags@ "$directory/$name.js" "$@"
}

# The engine reserves far more address space than it ever uses; with less it crashes at its start.
limit=$(ulimit -v 2>/dev/null)
case $limit in
  unlimited | '') ;; # not every shell knows it
  *) [ "$limit" -ge @addressSpace@ ] ||
    fail "may use $((limit / 1024)) MB of address space (ulimit -v), and the runtime reserves $((@addressSpace@ / 1024)) MB, which it does not use: raise the limit (ulimit -v unlimited, LimitAS=infinity of systemd), and limit memory by a control group" ;;
esac

user=$(id -u)
if [ "$user" = 0 ]; then home_cache=/var/cache; else home_cache=${HOME:+$HOME/.cache}; fi
case ${XDG_CACHE_HOME-} in /*) home_cache=$XDG_CACHE_HOME ;; esac
temporary=${TMPDIR:-/var/tmp}/tcpcopy-$user

for candidate in ${home_cache:+"$home_cache/tcpcopy"} "$temporary" "/tmp/tcpcopy-$user"; do
  if is_unpacked "$candidate"; then start "$@"; fi
done

[ "$(uname -m)" = "$machine" ] || fail "is made for $machine, and this is $(uname -m)"
self=$0
[ -r "$self" ] || self=$(command -v -- "$0") || fail "cannot read its own file $0"
room=$(((runtime_bytes + program_bytes) / 1000000 + 10))
broken="cannot hold the $room MB (disk full?), or $self is not whole: compare its checksum"
reasons=
for candidate in ${home_cache:+"$home_cache/tcpcopy"} "$temporary" "/tmp/tcpcopy-$user"; do
  if ! reason=$(umask 022 && mkdir -p -- "$candidate" 2>&1); then
    reason="cannot be made (${reason##*: })"
  elif is_ours "$candidate"; then
    reason=$(unpack)
    code=$?
    case $code in 129 | 130 | 143) exit "$code" ;; esac
    if [ "$code" = 0 ]; then start "$@"; fi
  fi
  rmdir -- "$candidate" 2>/dev/null # where it was made for nothing
  reasons="$reasons; $candidate: $reason"
done
fail "found no directory to unpack itself to (${reasons#; }); set XDG_CACHE_HOME to one that is yours, with $room MB free and not mounted noexec"
# `fail` does not return: what follows is not text.
