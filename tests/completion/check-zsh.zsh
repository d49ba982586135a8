# Run by check-zsh. A second zsh sits on a pseudo terminal; its compadd writes what it adds to a file.
. "${0%/*}/common.sh"
zmodload zsh/zpty
offers=$scratch/offers
mkdir $scratch/functions
"$program" completion zsh >$scratch/functions/_lightbus

cat >$scratch/setup <<END
PS1= ; unsetopt zle_bracketed_paste 2>/dev/null
fpath=($scratch/functions \$fpath)
autoload -U compinit && compinit -u -d $scratch/dump
zstyle ':completion:*' completer _complete
compadd() {
    local -a hits
    if [[ " \${(j: :)@[1,(i)-(|-)]} " == *' -'[OAD]' '* ]]; then
        builtin compadd "\$@"
        return
    fi
    builtin compadd -O hits "\$@"
    print -rl -- \$hits >>$offers
    builtin compadd "\$@"
}
complete_and_say() { zle complete-word; print -r -- END >>$offers }
zle -N complete_and_say
bindkey '^I' complete_and_say
print -r -- END >>$offers
END

wait_for_end() {
    local -F deadline=$((SECONDS + 20))
    until [[ -e $offers ]] && [[ $(tail -n 1 $offers) == END ]]; do
        ((SECONDS < deadline)) || { print "zsh did not answer"; exit 1; }
        zpty -rt shell output
        sleep 0.01
    done
}

typeset -F SECONDS
zpty -b shell exec zsh -f -i # exec: no copy of this shell with its trap stays
zpty -w shell "source $scratch/setup"
wait_for_end
while IFS='|' read -r typed wanted; do
    [[ $typed != '#'* ]] || continue
    : >$offers
    zpty -w -n shell $'\C-u'$typed$'\t'
    wait_for_end
    # zsh itself adds the slash; and it calls compadd more than once for the same words.
    got=(${(ou)${(f)"$(<$offers)"}:#END})
    for ((i = 1; i <= $#got; i++)); do
        [[ ! -d $got[i] ]] || got[i]+=/
    done
    expect $typed "$wanted" "${(j: :)got}"
done <$here/cases
zpty -d shell
finish
