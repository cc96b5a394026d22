# Replaces ICU's data, 32 MB of languages, by what a program needs that speaks English: formats, normalization, time
# zones (CronJobs name them) and no converters, word breaks or other languages. Node refuses to start without any.
set -eu
library=$(ls /usr/lib/*/libicudata.so.*.*)
soname=$(basename "$(ls /usr/lib/*/libicudata.so.?? /usr/lib/*/libicudata.so.??? 2>/dev/null | head -n 1)")
major=${soname##*.}
work=$(mktemp -d)
cd "$work"

# The whole package is one read-only object; its name in the symbol table says where it starts and how long it is.
symbol=$(readelf -sW "$library" | awk -v name="icudt${major}_dat" '$8 == name || index($8, name "@") == 1 { print $2, $3; exit }')
address=$((0x${symbol% *}))
section=$(readelf -SW "$library" | sed 's/^ *\[ *[0-9]*\] *//' | awk '$1 == ".rodata" { print $3, $4 }')
start=$((address - 0x${section% *} + 0x${section#* }))
tail -c +$((start + 1)) "$library" > "icudt${major}l.dat"

icupkg -l "icudt${major}l.dat" > all
grep -vE '^(brkitr|coll|curr|lang|region|unit|zone|rbnf|translit)/|\.(cnv|spp|cfu)$|^[a-z]{2,3}(_[A-Za-z0-9_]+)?\.res$' all > keep
grep -E '^((curr|lang|region|unit|zone|rbnf|coll)/)?(root|en|en_US|en_US_POSIX|pool|res_index|supplementalData|ucadata)\.(res|icu)$' all >> keep
grep -vxFf keep all > drop.txt
# The file's name becomes the first part of each item's name.
icupkg -r drop.txt "icudt${major}l.dat"
mv "icudt${major}l.dat" small.dat

machine=$(objdump -f "$library" | sed -n 's/^architecture: *\([^,]*\),.*/\1/p')
format=$(objdump -f "$library" | sed -n 's/.*file format *//p')
objcopy -I binary -O "$format" -B "$machine" \
  --rename-section .data=.rodata,alloc,load,readonly,data,contents --set-section-alignment .data=16 \
  --redefine-sym "_binary_small_dat_start=icudt${major}_dat" small.dat small.o
ld -shared -z noexecstack -soname "$soname" -o small.so small.o
cp small.so "$library"
rm -r "$work"
node -e 'new Intl.DateTimeFormat("en", { timeZone: "Europe/Berlin" }).format(0); "ä".normalize("NFD")'
