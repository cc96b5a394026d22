/**
 * Makes `npx k3ts` find this clone's own command at once: npx looks into node_modules/.bin, where npm puts the commands of
 * dependencies, but not a package's own. Part of `prepare`.
 */
import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const bin = join(dirname(dirname(fileURLToPath(import.meta.url))), "node_modules/.bin");
if (process.platform === "win32") {
  writeFileSync(join(bin, "k3ts.cmd"), '@node "%~dp0\\..\\..\\tools\\k3ts.mjs" %*\r\n');
} else {
  rmSync(join(bin, "k3ts"), { force: true });
  symlinkSync("../../tools/k3ts.mjs", join(bin, "k3ts"));
}
