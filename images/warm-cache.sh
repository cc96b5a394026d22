# Fills V8's compile cache with the modules of the program, so that a node's first start compiles nothing, and writes down
# Node's flags for the image of a role ($1): V8 ignores a cache that was made with others than /bin/k3s then uses.
set -eu
case $1 in
  # Room for new objects: with little of it a server under load collects garbage all the time, and its loop is late.
  server) young=16 ;;
  # A node does little; what it does not keep for new objects, pods have.
  agent) young=2 ;;
esac
flags="--max-semi-space-size=$young --disable-warning=ExperimentalWarning"
echo "$flags" > /usr/lib/k3ts/flags
# Node starts with the language data that it has here, knows time zones and normalizes.
node -e 'new Intl.DateTimeFormat("en", { timeZone: "Europe/Berlin" }).format(0); "ä".normalize("NFD")'
export NODE_COMPILE_CACHE=/usr/lib/k3ts/cache
cd /usr/lib/k3ts
# shellcheck disable=SC2086
node $flags k3ts.mjs --version
# shellcheck disable=SC2086
node $flags --input-type=module -e '
  const { readdirSync } = await import("node:fs");
  for (const file of readdirSync(".").filter((file) => /^(?!k3ts).*\.mjs$/.test(file))) {
    // Workers are compiled, too; outside of a worker thread they may not run to their end.
    await import(`/usr/lib/k3ts/${file}`).catch((error) => {
      if (!file.includes("worker")) throw error;
    });
  }
  (await import("node:module")).flushCompileCache();
  process.exit();
'
