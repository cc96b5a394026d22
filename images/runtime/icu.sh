# Replaces ICU's data, 32 MB of languages, by what a program needs that speaks English: formats, normalization, time
# zones (CronJobs name them) and no converters, word breaks or other languages. Node refuses to start without any.
# $1: what GNU's tools call the architecture; $2: the unpacked packages.
set -eu
triplet=$1
library=$(ls "$2/usr/lib/$triplet"/libicudata.so.*.*)
soname=$("$triplet-readelf" -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
major=${soname##*.}
work=$(mktemp -d)
cd "$work"

# The whole package is one read-only object; its name in the symbol table says where it starts and how long it is.
symbol=$("$triplet-readelf" -sW "$library" | awk -v name="icudt${major}_dat" '$8 == name || index($8, name "@") == 1 { print $2, $3; exit }')
address=$((0x${symbol% *}))
section=$("$triplet-readelf" -SW "$library" | sed 's/^ *\[ *[0-9]*\] *//' | awk '$1 == ".rodata" { print $3, $4 }')
start=$((address - 0x${section% *} + 0x${section#* }))
tail -c +$((start + 1)) "$library" > "icudt${major}l.dat"

icupkg -l "icudt${major}l.dat" > all
grep -vE '^(brkitr|coll|curr|lang|region|unit|zone|rbnf|translit)/|\.(cnv|spp|cfu)$|^[a-z]{2,3}(_[A-Za-z0-9_]+)?\.res$' all > keep
grep -E '^((curr|lang|region|unit|zone|rbnf|coll)/)?(root|en|en_US|en_US_POSIX|pool|res_index|supplementalData|ucadata)\.(res|icu)$' all >> keep
grep -vxFf keep all > drop.txt
# The file's name becomes the first part of each item's name.
icupkg -r drop.txt "icudt${major}l.dat"
mv "icudt${major}l.dat" small.dat

# A loader of hard-float programs takes only libraries that say how they pass floats (Tag_ABI_VFP_args).
attribute=
case $triplet in *hf) attribute='.eabi_attribute 28, 1' ;; esac
"$triplet-as" -o small.o - << END
$attribute
.section .rodata
.balign 16
.global icudt${major}_dat
.type icudt${major}_dat, %object
icudt${major}_dat:
.incbin "small.dat"
.size icudt${major}_dat, . - icudt${major}_dat
.section .note.GNU-stack, "", %progbits
END
"$triplet-ld" -shared -z noexecstack -soname "$soname" -o small.so small.o
cp small.so "$library"
rm -r "$work"
