#!/bin/sh
# Runs the iptables program of the kind that already holds rules here: legacy or nftables. Two kinds at once in one
# network namespace hide each other's rules.
name=${0##*/}
family=${name%%-*}
suffix=${name#"$family"}
legacy=$("/bin/aux/$family-legacy-save" 2> /dev/null | grep -c '^-')
nft=$("/bin/aux/$family-nft-save" 2> /dev/null | grep -c '^-')
kind=nft
[ "$legacy" -gt "$nft" ] && kind=legacy
exec "/bin/aux/$family-$kind$suffix" "$@"
