# Fills V8's compile cache with the modules of the program, so that a node's first start compiles nothing. The flags must
# be those of /bin/k3s: V8 ignores a cache that was made with others.
set -eu
export NODE_COMPILE_CACHE=/usr/lib/k3ts/cache
flags=$(sed -n "s/^flags='\(.*\)'$/\1/p" /bin/k3s)
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
