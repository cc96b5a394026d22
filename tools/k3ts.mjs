#!/usr/bin/env node
/**
 * `npx k3ts …` from a clone. Runs the bundle, or the sources where nothing is bundled yet, with this Node when it is new
 * enough and otherwise with the one that the npm packages bring.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bundle = join(root, "dist/k3ts/k3ts.mjs");
const program = existsSync(bundle) ? bundle : join(root, "src/main.ts");
const own = Number(process.versions.node.split(".")[0]) >= 24;

if (own) {
  // The program takes its own name and arguments from here.
  process.argv.splice(1, 1, program);
  await import(pathToFileURL(program).href);
} else {
  const node = join(root, "node_modules/node/bin/node");
  if (!existsSync(node)) {
    console.error(`k3ts: run "npm ci" first, or use Node 24 (this is ${process.version})`);
    process.exit(1);
  }
  const child = spawn(node, [program, ...process.argv.slice(2)], { stdio: "inherit" });
  // Keys reach the child by themselves; what others send is passed on.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  process.on("SIGHUP", () => child.kill("SIGHUP"));
  child.on("exit", (code, signal) => process.exit(code ?? (signal ? 130 : 1)));
}
