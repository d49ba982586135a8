# What the three checks share (bash and zsh read it): a scratch folder with files to complete and a stand-in for
# the program, which answers for the bus; `expect` compares what was offered. Each check gets the real program,
# whose script it tries, as its argument.
program=$1 here=${0%/*}
here=$(cd "$here" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/bin" "$scratch/work" "$scratch/work/modules"
touch "$scratch/work/module.c" "$scratch/work/lightbus.yaml"

# It must be asked as "completion names KIND -- COMMAND WORDS...".
cat >"$scratch/bin/lightbus" <<'STAND_IN'
#!/bin/sh
echo "$*" >>"$ASKED"
[ "$1 $2 $4" = "completion names --" ] || exit 1
case $3 in
API) echo shop ;;
EVENT) printf '%s\n' bought sold ;;
API.EVENT) printf '%s\n' shop.bought shop.sold ;;
API.PROCEDURE) printf '%s\n' shop.buy shop.sell ;;
NAME=VALUE) printf '%s\n' amount= item= ;;
esac
STAND_IN
chmod +x "$scratch/bin/lightbus"
export PATH="$scratch/bin:$PATH" ASKED="$scratch/asked"
cd "$scratch/work" || exit 1

wrong=0 tried=0
expect() { # TYPED WANTED GOT
    tried=$((tried + 1))
    [ "$2" = "$3" ] && return
    wrong=$((wrong + 1))
    printf 'typed "%s": expected "%s", got "%s"\n' "$1" "$2" "$3"
}
# The program must have been told the words before the one that is completed.
expect_asked() {
    grep -qxF "$1" "$ASKED" || { echo "nobody asked for: $1"; wrong=$((wrong + 1)); }
}
finish() {
    expect_asked 'completion names API.PROCEDURE -- call --url redis://h/0'
    expect_asked 'completion names NAME=VALUE -- call shop.buy --timeout 5'
    expect_asked 'completion names EVENT -- inspect --api shop --event'
    echo "completion: $tried lines, $wrong wrong"
    [ "$tried" -gt 20 ] && [ "$wrong" = 0 ]
}
